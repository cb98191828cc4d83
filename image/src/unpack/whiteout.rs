//! Names that mean "not there any more", in archives and on the disk.

use rustix::fs::{FileType, Stat};
use std::os::fd::OwnedFd;

/// What the last component of an entry's name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// An ordinary name.
    Plain(&'a [u8]),
    /// This name of the layers below is gone.
    Whiteout(&'a [u8]),
    /// All that the layers below have in this directory is gone.
    Opaque,
    /// Bookkeeping of AUFS, which nobody needs.
    Ignored,
}

const PREFIX: &[u8] = b".wh.";

/// Reads a name by the rules of the image specification.
pub(super) fn read(name: &[u8]) -> Result<Name<'_>, &'static str> {
    match name.strip_prefix(PREFIX) {
        None => Ok(Name::Plain(name)),
        Some(b".wh..opq") => Ok(Name::Opaque),
        Some(rest) if rest.starts_with(PREFIX) => Ok(Name::Ignored),
        // It would remove the directory it stands in, or that one's parent.
        Some(b"" | b"." | b"..") => Err("it is a whiteout of no name"),
        Some(rest) => Ok(Name::Whiteout(rest)),
    }
}

/// Overlay takes a character device 0:0 for "not there any more".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Attributes in which overlay keeps its own state: from an archive they would redirect into other layers.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// The attribute that makes a directory opaque.
pub(super) fn opaque_xattr(user_xattrs: bool) -> &'static str {
    match user_xattrs {
        true => "user.overlay.opaque",
        false => "trusted.overlay.opaque",
    }
}

/// Whether a directory hides what the layers below have in it, in either spelling.
pub(crate) fn is_opaque_directory(directory: &OwnedFd) -> bool {
    let mut value = [0; 8];
    [false, true].into_iter().any(|user_xattrs| {
        let read = rustix::fs::fgetxattr(directory, opaque_xattr(user_xattrs), &mut value);
        read.is_ok_and(|length| value[..length] == *b"y")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_the_specification() {
        assert_eq!(read(b"file"), Ok(Name::Plain(b"file")));
        assert_eq!(read(b".wh.file"), Ok(Name::Whiteout(b"file")));
        assert_eq!(read(b".wh..hidden"), Ok(Name::Whiteout(b".hidden")));
        assert_eq!(read(b".wh..wh..opq"), Ok(Name::Opaque));
        assert_eq!(read(b".wh..wh.plnk"), Ok(Name::Ignored));
        assert_eq!(read(b".whx"), Ok(Name::Plain(b".whx")));
        for hostile in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(read(hostile).is_err());
        }
    }
}
