//! As much of D-Bus as one method call takes (dbus.freedesktop.org, "D-Bus Specification"): the crates for it bring dozens of
//! packages and an executor.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection to a message bus.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// A method of an object of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method<'a> {
    pub(crate) service: &'a str,
    pub(crate) object: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) name: &'a str,
}

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Far above any answer that is waited for here.
const LONGEST: usize = 1 << 20;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

impl Bus {
    /// Connects and says who we are: the kernel vouches for the uid.
    pub(crate) fn connect(socket: &Path) -> io::Result<Bus> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut answer = String::new();
        stream.by_ref().take(4096).read_line(&mut answer)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(format!(
                "the bus refused us: {}",
                answer.trim_end()
            )));
        }
        stream.get_mut().write_all(b"BEGIN\r\n")?;
        let mut bus = Bus { stream, serial: 0 };
        let hello = Method {
            service: "org.freedesktop.DBus",
            object: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "Hello",
        };
        bus.call(hello, "", &Body::default())?;
        Ok(bus)
    }

    /// Calls a method and waits for its return; what it returns is not looked at.
    pub(crate) fn call(
        &mut self,
        method: Method<'_>,
        signature: &str,
        body: &Body,
    ) -> io::Result<()> {
        self.serial += 1;
        let message = message(self.serial, method, signature, body);
        self.stream.get_mut().write_all(&message)?;
        loop {
            let answer = self.receive()?;
            if answer.reply_to == Some(self.serial) {
                return match answer.kind {
                    RETURN => Ok(()),
                    _ => Err(io::Error::other(answer.text())),
                };
            }
        }
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (body_len, fields_len) = (number(4) as usize, number(12) as usize);
        if head[0] != b'l' || body_len > LONGEST || fields_len > LONGEST {
            return Err(io::Error::other(
                "the bus sent a message that cannot be read",
            ));
        }
        let mut fields = vec![0; fields_len.next_multiple_of(8)];
        self.stream.read_exact(&mut fields)?;
        let mut body = vec![0; body_len];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            kind: head[1],
            reply_to: reply_serial(&fields[..fields_len]),
            body,
        })
    }
}

struct Answer {
    kind: u8,
    reply_to: Option<u32>,
    body: Vec<u8>,
}

impl Answer {
    /// An error's body begins with a sentence.
    fn text(&self) -> String {
        debug_assert_eq!(self.kind, ERROR);
        let len = self
            .body
            .first_chunk()
            .map_or(0, |len| u32::from_le_bytes(*len) as usize);
        let text = self.body.get(4..4 + len).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Looks for the one field of type `u` with that code: code, signature "u", padding, value, all at a multiple of 8. No text can look like it, since
/// none has a NUL before its end.
fn reply_serial(fields: &[u8]) -> Option<u32> {
    let wanted = [FIELD_REPLY_SERIAL, 1, b'u', 0];
    fields.chunks_exact(8).find_map(|field| {
        let (code, value) = field.split_at(4);
        (code == wanted).then(|| u32::from_le_bytes([value[0], value[1], value[2], value[3]]))
    })
}

fn message(serial: u32, method: Method<'_>, signature: &str, body: &Body) -> Vec<u8> {
    let mut fields = Body::default();
    for (code, kind, value) in [
        (FIELD_PATH, "o", method.object),
        (FIELD_INTERFACE, "s", method.interface),
        (FIELD_MEMBER, "s", method.name),
        (FIELD_DESTINATION, "s", method.service),
    ] {
        fields.structure().byte(code).signature(kind).string(value);
    }
    if !signature.is_empty() {
        fields
            .structure()
            .byte(FIELD_SIGNATURE)
            .signature("g")
            .signature(signature);
    }
    let mut message = Body::default();
    message.byte(b'l').byte(CALL).byte(0).byte(1);
    message
        .number(body.0.len() as u32)
        .number(serial)
        .number(fields.0.len() as u32);
    message.0.extend(fields.0);
    message.structure();
    message.0.extend(&body.0);
    message.0
}

/// Values in D-Bus's wire format, each aligned to its size from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, to: usize) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    /// Begins a structure.
    pub(crate) fn structure(&mut self) -> &mut Self {
        self.align(8)
    }

    fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn number(&mut self, value: u32) -> &mut Self {
        self.align(4).0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn string(&mut self, value: &str) -> &mut Self {
        self.number(value.len() as u32).0.extend(value.as_bytes());
        self.byte(0)
    }

    /// A type, as variants and headers carry it.
    pub(crate) fn signature(&mut self, value: &str) -> &mut Self {
        self.byte(value.len() as u8).0.extend(value.as_bytes());
        self.byte(0)
    }

    /// An array of structures; the padding before the first does not count to its length.
    pub(crate) fn structures(&mut self, write: impl FnOnce(&mut Body)) -> &mut Self {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(8);
        let begin = self.0.len();
        write(self);
        let len = (self.0.len() - begin) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&len.to_le_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned() {
        let mut body = Body::default();
        body.string("ab").number(7).structures(|list| {
            list.structure().string("x");
        });
        assert_eq!(body.0, b"\x02\0\0\0ab\0\0\x07\0\0\0\x06\0\0\0\x01\0\0\0x\0");
    }

    #[test]
    fn the_serial_of_a_reply() {
        let fields = b"\x06\x01s\0\x04\0\0\0:1.7\0\0\0\0\x05\x01u\0\x2a\0\0\0";
        assert_eq!(reply_serial(fields), Some(42));
        assert_eq!(reply_serial(b"\x06\x01s\0\x01\0\0\0"), None);
    }
}
