//! Docker's syntaxes for volumes: `-v`, `--mount` and `--tmpfs`.

use crate::{Bind, Error, ErrorKind, Propagation, Result, Tmpfs, Volume};
use std::path::Path;

impl Volume {
    /// The value of `docker run -v`: `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`, options being `ro`, `rw` and propagation.
    ///
    /// A read-only volume is so with all that is mounted below it, as Docker has it since version 25.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], with the text; [`ErrorKind::Unsupported`] for a named volume and for SELinux labels.
    ///
    /// # Examples
    /// ```
    /// use ampoule_volumes::Volume;
    ///
    /// let volume = Volume::parse_volume("/srv/data:/data:ro")?;
    /// assert_eq!(volume.target(), std::path::Path::new("/data"));
    /// assert!(volume.is_read_only());
    /// # Ok::<(), ampoule_volumes::Error>(())
    /// ```
    pub fn parse_volume(text: &str) -> Result<Volume> {
        let flag = Flag { name: "-v", text };
        let mut words = text.split(':');
        let (source, target, options) = (words.next(), words.next(), words.next());
        let (Some(source), Some(target), None) = (source, target, words.next()) else {
            return Err(flag.invalid("SOURCE:TARGET or SOURCE:TARGET:OPTIONS"));
        };
        let mut bind = Bind::new(flag.source(source)?);
        for word in options
            .unwrap_or_default()
            .split(',')
            .filter(|word| !word.is_empty())
        {
            match word {
                "ro" => bind.read_only = true,
                "rw" => bind.read_only = false,
                "z" | "Z" => {
                    return Err(flag.unsupported("labels of SELinux are not set: leave it out"));
                }
                _ => match propagation(word) {
                    Some(propagation) => bind.propagation = propagation,
                    None => return Err(flag.invalid(format!("there is no option {word:?}"))),
                },
            }
        }
        Ok(Volume::bind(bind, flag.target(target)?))
    }

    /// The value of `docker run --mount`: `type=bind,source=…,target=…` or `type=tmpfs,target=…`, with their options.
    ///
    /// # Errors
    /// As for [`parse_volume`](Volume::parse_volume).
    pub fn parse_mount(text: &str) -> Result<Volume> {
        let flag = Flag {
            name: "--mount",
            text,
        };
        let fields = flag.fields()?;
        let kind = fields.iter().rev().find(|(key, _)| key == "type");
        match kind.and_then(|(_, value)| value.as_deref()) {
            Some("bind") => flag.bind(&fields),
            Some("tmpfs") => flag.tmpfs(&fields),
            None | Some("volume") => Err(flag.unsupported("type=bind or type=tmpfs")),
            Some(other) => Err(flag.invalid(format!("there is no type {other:?}"))),
        }
    }

    /// The value of `docker run --tmpfs`: `TARGET` or `TARGET:OPTIONS`, options being `size`, `mode`, `uid`, `gid`, `ro`, `exec`.
    ///
    /// # Errors
    /// As for [`parse_volume`](Volume::parse_volume).
    pub fn parse_tmpfs(text: &str) -> Result<Volume> {
        let flag = Flag {
            name: "--tmpfs",
            text,
        };
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut tmpfs = Tmpfs::default();
        let (mut uid, mut gid) = (None, None);
        for word in options.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("size", value) => tmpfs.size = Some(flag.bytes(value)?),
                ("mode", value) => tmpfs.mode = flag.mode(value)?,
                ("uid", value) => uid = Some(flag.number(value)?),
                ("gid", value) => gid = Some(flag.number(value)?),
                ("ro", "") => tmpfs.read_only = true,
                ("rw", "") => tmpfs.read_only = false,
                ("exec", "") => tmpfs.exec = true,
                ("noexec", "") => tmpfs.exec = false,
                // It is so anyway.
                ("nosuid" | "nodev", "") => {}
                _ => return Err(flag.invalid(format!("there is no option {word:?}"))),
            }
        }
        if uid.is_some() || gid.is_some() {
            tmpfs.owner = Some((uid.unwrap_or(0), gid.unwrap_or(0)));
        }
        Ok(Volume::tmpfs(tmpfs, flag.target(target)?))
    }
}

/// A flag of the command line, for error texts.
struct Flag<'a> {
    name: &'static str,
    text: &'a str,
}

type Field = (String, Option<String>);

impl Flag<'_> {
    fn invalid(&self, hint: impl Into<String>) -> Error {
        self.refused(ErrorKind::Invalid, hint)
    }

    fn unsupported(&self, hint: impl Into<String>) -> Error {
        self.refused(ErrorKind::Unsupported, hint)
    }

    fn refused(&self, kind: ErrorKind, hint: impl Into<String>) -> Error {
        Error::refused(kind, format!("{} {:?}", self.name, self.text)).hint(hint)
    }

    fn source<'t>(&self, source: &'t str) -> Result<&'t str> {
        match source {
            "" => Err(self.invalid("the source is missing")),
            path if path.starts_with('/') => Ok(path),
            path if path.starts_with('.') => {
                Err(self.invalid("the source must be an absolute path"))
            }
            _ => Err(self.unsupported(
                "a source without a slash would be a named volume: give an absolute path",
            )),
        }
    }

    fn target<'t>(&self, target: &'t str) -> Result<&'t str> {
        match Path::new(target).is_absolute() {
            true => Ok(target),
            false => Err(self.invalid("the target must be an absolute path")),
        }
    }

    fn bind(&self, fields: &[Field]) -> Result<Volume> {
        let (mut source, mut target, mut bind) = (None, None, Bind::new(""));
        for (key, value) in fields {
            match (key.as_str(), value.as_deref()) {
                ("type" | "consistency", _) => {}
                ("source" | "src", Some(value)) => source = Some(self.source(value)?),
                ("target" | "dst" | "destination", Some(value)) => {
                    target = Some(self.target(value)?)
                }
                ("readonly" | "ro", value) => bind.read_only = self.yes(value)?,
                ("bind-propagation", Some(value)) => {
                    bind.propagation = propagation(value).ok_or_else(|| {
                        self.invalid(format!("there is no propagation {value:?}"))
                    })?;
                }
                ("bind-recursive", Some("enabled" | "readonly")) => bind.recursive = true,
                ("bind-recursive", Some("writable")) => bind.writable_below = true,
                ("bind-recursive", Some("disabled")) => bind.recursive = false,
                _ => return Err(self.no_key(key, value)),
            }
        }
        bind.source = source
            .ok_or_else(|| self.invalid("the source is missing"))?
            .into();
        let target = target.ok_or_else(|| self.invalid("the target is missing"))?;
        Ok(Volume::bind(bind, target))
    }

    fn tmpfs(&self, fields: &[Field]) -> Result<Volume> {
        let (mut target, mut tmpfs) = (None, Tmpfs::default());
        for (key, value) in fields {
            match (key.as_str(), value.as_deref()) {
                ("type" | "consistency", _) => {}
                ("target" | "dst" | "destination", Some(value)) => {
                    target = Some(self.target(value)?)
                }
                ("readonly" | "ro", value) => tmpfs.read_only = self.yes(value)?,
                ("tmpfs-size", Some(value)) => tmpfs.size = Some(self.bytes(value)?),
                ("tmpfs-mode", Some(value)) => tmpfs.mode = self.mode(value)?,
                _ => return Err(self.no_key(key, value)),
            }
        }
        let target = target.ok_or_else(|| self.invalid("the target is missing"))?;
        Ok(Volume::tmpfs(tmpfs, target))
    }

    fn no_key(&self, key: &str, value: &Option<String>) -> Error {
        match value {
            Some(value) => self.invalid(format!("there is no option {key}={value:?} of this type")),
            None => self.invalid(format!("there is no option {key:?} of this type")),
        }
    }

    /// Fields with commas between them; one in double quotes may have commas in it, as in CSV (RFC 4180).
    fn fields(&self) -> Result<Vec<Field>> {
        let (mut fields, mut field, mut quoted) = (vec![], String::new(), false);
        let mut rest = self.text.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                _ => field.push(next),
            }
        }
        if quoted {
            return Err(self.invalid("a double quote is not closed"));
        }
        fields.push(field);
        let fields = fields.into_iter().map(|field| match field.split_once('=') {
            Some((key, value)) => (key.to_string(), Some(value.to_string())),
            None => (field, None),
        });
        Ok(fields.collect())
    }

    fn yes(&self, value: Option<&str>) -> Result<bool> {
        match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(self.invalid(format!("{other:?} is neither true nor false"))),
        }
    }

    fn number(&self, text: &str) -> Result<u32> {
        text.parse()
            .map_err(|_| self.invalid(format!("{text:?} is no number")))
    }

    fn mode(&self, text: &str) -> Result<u32> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => Ok(mode),
            _ => Err(self.invalid(format!("{text:?} is no mode, which is octal as in 1777"))),
        }
    }

    /// A number of bytes, with a unit of 1024 as Docker has it: `65536`, `64k`, `64m`, `1g`, `64mb`, `64MiB`.
    fn bytes(&self, text: &str) -> Result<u64> {
        let invalid = || self.invalid(format!("{text:?} is no size, such as 64m"));
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(invalid()),
        };
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        match number.checked_mul(1 << shift) {
            // The kernel takes 0 for "as much as there is", which is not what it looks like.
            None | Some(0) => Err(invalid()),
            Some(bytes) => Ok(bytes),
        }
    }
}

/// Docker's words; those without `r` mean the same here, for what is mounted below comes along.
fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" | "rprivate" => Propagation::Private,
        "slave" | "rslave" => Propagation::Slave,
        "shared" | "rshared" => Propagation::Shared,
        _ => return None,
    })
}
