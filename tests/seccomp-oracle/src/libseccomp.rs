//! libseccomp, by `dlopen`: a test that wants it does not keep anybody from building.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;

/// `struct scmp_arg_cmp`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Comparison {
    /// Which argument.
    pub argument: c_uint,
    /// `enum scmp_compare`: NE is 1, then LT, LE, EQ, GE, GT, MASKED_EQ.
    pub operator: c_uint,
    /// The value, or the mask.
    pub a: u64,
    /// The value under the mask.
    pub b: u64,
}

macro_rules! library {
    ($($field:ident = $symbol:literal as $signature:ty,)*) => {
        struct Library {
            $($field: $signature,)*
        }

        /// The functions of seccomp.h that are used here, if the library is there and has them all.
        fn open() -> Option<Library> {
            // SAFETY: the name is a C string; libseccomp's initialisers touch nothing of ours.
            let handle = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
            if handle.is_null() {
                return None;
            }
            let symbol = |name: &CStr| {
                // SAFETY: the handle came from dlopen and is never closed.
                let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
                (!address.is_null()).then_some(address)
            };
            Some(Library {
                // SAFETY: the symbol is the function of that name, and seccomp.h gives it this signature.
                $($field: unsafe { std::mem::transmute::<*mut c_void, $signature>(symbol($symbol)?) },)*
            })
        }
    };
}

library! {
    init = c"seccomp_init" as unsafe extern "C" fn(u32) -> *mut c_void,
    release = c"seccomp_release" as unsafe extern "C" fn(*mut c_void),
    arch_add = c"seccomp_arch_add" as unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    arch_remove = c"seccomp_arch_remove" as unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    attr_set = c"seccomp_attr_set" as unsafe extern "C" fn(*mut c_void, c_uint, u32) -> c_int,
    rule_add = c"seccomp_rule_add_array" as unsafe extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
    export = c"seccomp_export_bpf" as unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    resolve = c"seccomp_syscall_resolve_name" as unsafe extern "C" fn(*const c_char) -> c_int,
    resolve_arch = c"seccomp_syscall_resolve_name_arch" as unsafe extern "C" fn(u32, *const c_char) -> c_int,
}

/// `SCMP_FLTATR_CTL_OPTIMIZE`.
const OPTIMIZE: c_uint = 8;
/// `SCMP_ARCH_NATIVE`.
const NATIVE: u32 = 0;

fn library() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    LIBRARY.get_or_init(open).as_ref()
}

/// Whether libseccomp is there; otherwise why not.
pub fn available() -> Result<(), String> {
    match library() {
        Some(_) => Ok(()),
        None => Err("libseccomp.so.2 cannot be loaded".into()),
    }
}

/// The number that libseccomp has for a name on an architecture: below zero, it is one of libseccomp's own for a call that
/// has none there, or goes through another call; none for a name that it does not know.
pub fn resolve(arch: u32, name: &str) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string, which libseccomp only reads.
    let number = unsafe { (library()?.resolve_arch)(arch, name.as_ptr()) };
    (number != -1).then_some(number)
}

/// A filter that libseccomp builds.
#[derive(Debug)]
pub struct Context {
    library: &'static Library,
    context: *mut c_void,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("libseccomp")
    }
}

impl Context {
    /// An empty filter with this default action, for these architectures alone.
    ///
    /// # Panics
    /// If libseccomp is missing or refuses.
    pub fn new(default: u32, arches: &[u32]) -> Context {
        let library = library().expect("libseccomp is there");
        // SAFETY: no pointers are passed.
        let context = unsafe { (library.init)(default) };
        assert!(!context.is_null(), "seccomp_init({default:#x})");
        // SAFETY: the context is live until it is dropped.
        let removed = unsafe { (library.arch_remove)(context, NATIVE) };
        assert_eq!(removed, 0);
        for arch in arches {
            // SAFETY: as above.
            let added = unsafe { (library.arch_add)(context, *arch) };
            assert_eq!(added, 0, "seccomp_arch_add({arch:#x})");
        }
        Context { library, context }
    }

    /// 1: a list by priority, the default; 2: a binary tree.
    pub fn optimize(&mut self, level: u32) {
        // SAFETY: the context is live.
        let set = unsafe { (self.library.attr_set)(self.context, OPTIMIZE, level) };
        assert_eq!(set, 0, "optimize {level}");
    }

    /// Adds a rule; the errno where libseccomp refuses it, none where it does not know the name.
    pub fn rule(
        &mut self,
        action: u32,
        name: &str,
        arguments: &[Comparison],
    ) -> Result<(), Option<i32>> {
        let name = CString::new(name).map_err(|_| None)?;
        // SAFETY: the name is a C string, which libseccomp only reads.
        let number = unsafe { (self.library.resolve)(name.as_ptr()) };
        if number == -1 {
            return Err(None);
        }
        // SAFETY: the array has as many elements as is said, in seccomp.h's layout.
        let added = unsafe {
            let count = arguments.len() as c_uint;
            (self.library.rule_add)(self.context, action, number, count, arguments.as_ptr())
        };
        match added {
            0 => Ok(()),
            errno => Err(Some(-errno)),
        }
    }

    /// Compiles it: an array of `struct sock_filter`.
    pub fn export(&self) -> Vec<u8> {
        // SAFETY: the name is a C string; the file descriptor returned is ours alone.
        let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"bpf".as_ptr(), 0)) };
        // SAFETY: the context is live, and so is the file.
        let exported = unsafe { (self.library.export)(self.context, file.as_raw_fd()) };
        assert_eq!(exported, 0, "seccomp_export_bpf");
        let mut bytes = Vec::new();
        file.rewind().expect("rewind a memfd");
        file.read_to_end(&mut bytes).expect("read a memfd");
        bytes
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is released once, here.
        unsafe { (self.library.release)(self.context) }
    }
}
