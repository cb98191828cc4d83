//! Places in trees that somebody else has filled.

use ampoule_mounts::{ErrorKind, Kind, Target};
use needs::needs;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ampoule-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("root/dir")).unwrap();
        fs::write(path.join("root/file"), "").unwrap();
        fs::create_dir(path.join("outside")).unwrap();
        Scratch(path)
    }

    fn look(&self, at: &str, kind: Kind) -> Result<bool, (ErrorKind, String)> {
        let root = File::open(self.0.join("root")).unwrap();
        let target = Target::new(at, kind).unwrap();
        let found = target.exists_in(root.as_fd());
        found.map_err(|error| (error.kind(), error.to_string()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

needs!( => what_stands_there_is_looked_at);
fn what_stands_there_is_looked_at() {
    let scratch = Scratch::new("stands");
    assert_eq!(scratch.look("/dir", Kind::Directory), Ok(true));
    assert_eq!(scratch.look("/file", Kind::File), Ok(true));
    assert_eq!(scratch.look("/dir/more", Kind::File), Ok(false));
    assert_eq!(
        scratch.look("/dir", Kind::File),
        Err((
            ErrorKind::WrongType,
            r#"mount a file at "/dir", which is a directory"#.into()
        ))
    );
    let (kind, _) = scratch.look("/file/below", Kind::File).unwrap_err();
    assert_eq!(kind, ErrorKind::WrongType);
}

needs!( => links_are_followed_inside_only);
fn links_are_followed_inside_only() {
    let scratch = Scratch::new("links");
    let root = scratch.0.join("root");
    symlink("/dir", root.join("absolute")).unwrap();
    symlink("../../../../dir", root.join("climbing")).unwrap();
    symlink(scratch.0.join("outside"), root.join("out")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    assert_eq!(scratch.look("/absolute", Kind::Directory), Ok(true));
    assert_eq!(scratch.look("/climbing", Kind::Directory), Ok(true));
    assert_eq!(scratch.look("/out", Kind::Directory), Ok(false));
    assert_eq!(scratch.look("/magic", Kind::Directory), Ok(false));
    let (kind, _) = scratch.look("/loop", Kind::Directory).unwrap_err();
    assert_eq!(kind, ErrorKind::WrongType);
}

needs!( => paths_that_can_never_be_targets_are_refused);
fn paths_that_can_never_be_targets_are_refused() {
    for path in ["relative", "", "/", "/.", "/..", "/a/../b"] {
        let error = Target::new(path, Kind::File).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{path:?}: {error}");
    }
    let target = Target::new("//a/./b/", Kind::Directory).unwrap();
    assert_eq!(target.path(), PathBuf::from("/a/b"));
}
