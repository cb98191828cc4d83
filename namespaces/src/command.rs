//! The program that a process becomes, and what it finds when it begins.

use crate::init;
use crate::signal;
use ampoule_plan::{Call, Draft, Errno, Error, Fd, OpenFlags, Part, Phase, Resolve, path, words};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

/// Where programs are looked for when the environment does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most systems' limit on the numbers of file descriptors: fs.nr_open.
const MOST_DESCRIPTORS: i32 = 1 << 20;

/// How a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Starter {
    /// By the child itself. The program's file must not be one that the inside could have replaced by a link to
    /// `/proc/self/exe`, which is the host's binary until then (CVE-2019-5736). A user namespace does not help where its
    /// ids include the owner of that binary.
    #[default]
    Direct,
    /// By a sealed program of a few kilobytes in between, so that there is nothing of the host's to reach. Costs one more
    /// `execve`, about 40 µs.
    Sealed,
    /// By the same program, which stays as process 1, passes signals on and reaps orphans (docker's `--init`).
    Reaper,
}

/// The program that a process becomes.
///
/// The environment is empty unless set; the standard streams are the caller's unless set.
///
/// Contribute it before the part that loads a system-call filter: its last steps before the program stand just in front of
/// that, because a strict filter might forbid them.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: OsString,
    streams: [Option<Arc<OwnedFd>>; 3],
    passed: Vec<(i32, Arc<OwnedFd>)>,
    terminal: bool,
    umask: Option<u32>,
    starter: Starter,
    outlives_host: bool,
}

impl Command {
    /// A program by its path inside, or by its name on the `PATH` of the environment inside.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            directory: "/".into(),
            streams: [const { None }; 3],
            passed: Vec::new(),
            terminal: false,
            umask: None,
            starter: Starter::default(),
            outlives_host: false,
        }
    }

    /// Arguments behind the program's name.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Command {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        let name = name.as_ref();
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working directory inside; `/` if it is not set.
    pub fn current_dir(&mut self, directory: impl AsRef<OsStr>) -> &mut Command {
        self.directory = directory.as_ref().to_owned();
        self
    }

    /// Standard input.
    pub fn stdin(&mut self, fd: impl Into<Arc<OwnedFd>>) -> &mut Command {
        self.streams[0] = Some(fd.into());
        self
    }

    /// Standard output.
    pub fn stdout(&mut self, fd: impl Into<Arc<OwnedFd>>) -> &mut Command {
        self.streams[1] = Some(fd.into());
        self
    }

    /// Standard error.
    pub fn stderr(&mut self, fd: impl Into<Arc<OwnedFd>>) -> &mut Command {
        self.streams[2] = Some(fd.into());
        self
    }

    /// A file descriptor that the program finds under this number, 3 or more.
    pub fn pass(&mut self, number: i32, fd: impl Into<Arc<OwnedFd>>) -> &mut Command {
        self.passed.push((number, fd.into()));
        self
    }

    /// Standard input is a terminal, and becomes the controlling one of the program's session.
    pub fn terminal(&mut self) -> &mut Command {
        self.terminal = true;
        self
    }

    /// The mask for the modes of new files; the caller's own if it is not set.
    pub fn umask(&mut self, mask: u32) -> &mut Command {
        self.umask = Some(mask);
        self
    }

    /// How the program is started.
    pub fn starter(&mut self, starter: Starter) -> &mut Command {
        self.starter = starter;
        self
    }

    /// The program goes on when the process that started it ends. Otherwise it is killed then.
    pub fn outlives_host(&mut self) -> &mut Command {
        self.outlives_host = true;
        self
    }

    fn streams(&self, draft: &mut Draft) -> Result<(), Error> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let own = [
            ("stdin", stdin.as_fd()),
            ("stdout", stdout.as_fd()),
            ("stderr", stderr.as_fd()),
        ];
        for ((number, (name, own)), given) in (0..).zip(own).zip(&self.streams) {
            let fd = match given {
                Some(fd) => fd.clone(),
                None => Arc::new(
                    own.try_clone_to_owned()
                        .map_err(|e| Error::prepare(name, e))?,
                ),
            };
            let from = draft.hold(name, fd).into();
            draft.child(
                Phase::Session,
                Call::Dup3 { from, to: number },
                "a standard stream",
            );
        }
        for (index, (number, fd)) in self.passed.iter().enumerate() {
            if !(3..MOST_DESCRIPTORS).contains(number) {
                return Err(Error::Invalid(format!(
                    "file descriptor {number} cannot be passed: 0 to 2 are the standard streams, and the numbers end \
                     before {MOST_DESCRIPTORS}"
                )));
            }
            if self.passed[..index]
                .iter()
                .any(|(other, _)| other == number)
            {
                return Err(Error::Invalid(format!(
                    "file descriptor {number} is passed twice"
                )));
            }
            let from = draft.hold(format!("passed {number}"), fd.clone()).into();
            draft.child(
                Phase::Session,
                Call::Dup3 { from, to: *number },
                "handed to the program",
            );
        }
        Ok(())
    }

    fn session(&self, draft: &mut Draft) -> Result<(), Error> {
        if let Some(mask) = self.umask {
            draft.child(
                Phase::Session,
                Call::Umask { mask },
                "for the program's new files",
            );
        }
        // Without a session of its own, the program could push input into the caller's terminal (TIOCSTI).
        draft.child(
            Phase::Session,
            Call::Setsid,
            "a session of its own: the caller's terminal is out of reach",
        );
        if self.terminal {
            let request = (libc::TIOCSCTTY, "TIOCSCTTY");
            let take = Call::Ioctl {
                fd: Fd::Number(0),
                request,
                argument: vec![],
                shows: String::new(),
            };
            draft.child(Phase::Session, take, "the terminal is this session's");
        }
        let place = draft.slot("working directory");
        let open = Call::Openat2 {
            dir: Fd::Cwd,
            path: path(&self.directory)?,
            flags: OpenFlags::O_PATH | OpenFlags::O_DIRECTORY,
            mode: 0,
            resolve: Resolve::RESOLVE_NO_MAGICLINKS,
            out: place,
        };
        draft.child(
            Phase::Session,
            open,
            "not by way of /proc/self/fd, which would be ours",
        );
        draft.child(
            Phase::Session,
            Call::Fchdir { fd: place.into() },
            "where the program begins",
        );
        for number in signal::ignored() {
            let signal = (number, signal::name(number));
            draft.child(
                Phase::Session,
                Call::DefaultSignal { signal },
                "the caller ignores it, the program need not",
            );
        }
        draft.child(
            Phase::Session,
            Call::Sigprocmask { mask: 0 },
            "the program gets every signal",
        );
        Ok(())
    }

    /// The child executes the program itself, from each directory of the `PATH` in turn.
    fn direct(&self, draft: &mut Draft) -> Result<(), Error> {
        let (argv, envp) = (self.argv()?, self.envp()?);
        let first = self
            .passed
            .iter()
            .map(|(number, _)| *number as u32 + 1)
            .max()
            .unwrap_or(3);
        draft.child(
            Phase::Filter,
            Call::CloseFrom { first },
            "a path of the program must not lead through our files",
        );
        let candidates = self.candidates();
        let last = candidates.len() - 1;
        for (index, candidate) in candidates.into_iter().enumerate() {
            let exec = Call::Execve {
                path: path(candidate)?,
                argv: argv.clone(),
                envp: envp.clone(),
            };
            let mut step = draft.child(Phase::Exec, exec, "the program");
            if index < last {
                step.tolerate(Errno::ENOENT)
                    .tolerate(Errno::ENOTDIR)
                    .tolerate(Errno::EACCES);
            }
        }
        Ok(())
    }

    fn candidates(&self) -> Vec<OsString> {
        if self.program.as_bytes().contains(&b'/') {
            return vec![self.program.clone()];
        }
        let search = self
            .env
            .iter()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.as_os_str());
        let search = search.unwrap_or(DEFAULT_PATH.as_ref());
        let join = |dir: &[u8]| {
            let dir = if dir.is_empty() { b"." } else { dir };
            OsString::from_vec([dir, b"/", self.program.as_bytes()].concat())
        };
        search
            .as_bytes()
            .split(|byte| *byte == b':')
            .map(join)
            .collect()
    }

    /// Our own program starts it, and confirms on a pipe that it did.
    fn by_init(&self, draft: &mut Draft, mode: &str) -> Result<(), Error> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Error::prepare("pipe for the program's confirmation", e))?;
        let number = self
            .passed
            .iter()
            .map(|(number, _)| *number + 1)
            .max()
            .unwrap_or(3);
        let from = draft.hold("confirmation", writer).into();
        draft.confirmed_by(reader);
        let init = init::program().map_err(|e| Error::prepare(init::MAKING, e))?;
        let fd = draft.hold(init::NAME, init).into();
        let mut argv = words([init::NAME, mode, &number.to_string()])?;
        argv.extend(self.argv()?);
        let exec = Call::Execveat {
            fd,
            argv,
            envp: self.envp()?,
        };
        draft.child(
            Phase::Filter,
            Call::Dup3 { from, to: number },
            "where it is said whether the program began",
        );
        draft.child(
            Phase::Exec,
            exec,
            "our sealed program, which starts the one asked for",
        );
        Ok(())
    }

    fn argv(&self) -> Result<Vec<CString>, Error> {
        words(std::iter::once(&self.program).chain(&self.args))
    }

    fn envp(&self) -> Result<Vec<CString>, Error> {
        let join = |(name, value): &(OsString, OsString)| {
            let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
            match name.is_empty() || name.as_bytes().contains(&b'=') {
                true => Err(Error::Invalid(format!("{name:?} is no name of a variable"))),
                false => path(OsString::from_vec(bytes)),
            }
        };
        self.env.iter().map(join).collect()
    }
}

impl Part for Command {
    fn contribute(&self, draft: &mut Draft) -> Result<(), Error> {
        if self.program.is_empty() {
            return Err(Error::Invalid("the program's name is empty".into()));
        }
        self.streams(draft)?;
        self.session(draft)?;
        if !self.outlives_host {
            tie(draft);
        }
        match self.starter {
            Starter::Direct => self.direct(draft),
            Starter::Sealed => self.by_init(draft, "exec"),
            Starter::Reaper => self.by_init(draft, "reap"),
        }
    }
}

/// The process ends with the host.
pub(crate) fn tie(draft: &mut Draft) {
    let option = (libc::PR_SET_PDEATHSIG as u32, "PR_SET_PDEATHSIG");
    let tie = Call::Prctl {
        option,
        args: [libc::SIGKILL as u64, 0, 0, 0],
    };
    draft.child(
        Phase::Filter,
        tie,
        "it ends with the host; after the last change of ids, which forgets this",
    );
    draft.child(
        Phase::Filter,
        Call::Lifeline,
        "the host may have ended before that line",
    );
}
