//! A blocking netlink socket that sends many requests at once.

use crate::{Error, Result};
use netlink_sys::{Socket as RawSocket, protocols::NETLINK_ROUTE};
use std::borrow::Cow;
use std::io;

/// One request to the kernel, and what it is for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    what: Cow<'static, str>,
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, kind: u16) -> Request {
        Request {
            what: what.into(),
            kind,
            flags: NLM_F_REQUEST,
            body: Vec::new(),
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    #[cfg(feature = "drivers")]
    pub(crate) fn flags(mut self, flags: u16) -> Request {
        self.flags |= flags;
        self
    }

    /// What it is for.
    #[cfg(feature = "drivers")]
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    fn write(&self, sequence: u32, extra_flags: u16, out: &mut Vec<u8>) {
        let length = (HEADER + self.body.len()) as u32;
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | extra_flags).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        // The sender's port is the kernel's to fill in.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    raw: RawSocket,
    sequence: u32,
}

impl Socket {
    /// Opens a socket for links, addresses, routes and neighbours (rtnetlink(7)).
    pub(crate) fn route() -> Result<Socket> {
        Socket::open(NETLINK_ROUTE)
    }

    /// Opens a socket for nf_tables.
    #[cfg(feature = "drivers")]
    pub(crate) fn netfilter() -> Result<Socket> {
        let socket = Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
        // Every element of a large transaction may be refused.
        let wide = socket.raw.set_rx_buf_sz(TRANSACTION_BUFFER);
        wide.map_err(|e| Error::kernel("widen a netlink socket", e))?;
        Ok(socket)
    }

    fn open(protocol: isize) -> Result<Socket> {
        let failed = |e| Error::kernel("open a netlink socket", e);
        let raw = RawSocket::new(protocol).map_err(failed)?;
        // An error then says in words what was wrong, and does not repeat the request.
        raw.set_ext_ack(true).map_err(failed)?;
        raw.set_cap_ack(true).map_err(failed)?;
        Ok(Socket { raw, sequence: 0 })
    }

    /// Sends all requests, up to 64 at once; the error is that of the first one which the kernel refused.
    ///
    /// The kernel works through them in order and does *not* stop at a failure: later requests must be such that they
    /// cannot do harm when an earlier one failed.
    pub(crate) fn run(&mut self, requests: &[Request]) -> Result<()> {
        // The kernel drops an answer for which the socket's buffer has no room, and every request may fail.
        requests
            .chunks(64)
            .try_fold((), |(), batch| self.run_batch(batch))
    }

    fn run_batch(&mut self, requests: &[Request]) -> Result<()> {
        let last = requests.len() - 1;
        let first = self.sequence;
        let mut out = Vec::with_capacity(256 * requests.len());
        for (index, request) in requests.iter().enumerate() {
            // Errors come unasked; so one acknowledgement, of the last, is enough to know that all is done.
            let ack = if index == last { NLM_F_ACK } else { 0 };
            request.write(first.wrapping_add(index as u32), ack, &mut out);
        }
        self.sequence = first.wrapping_add(requests.len() as u32);
        self.send(&out, &requests[0].what)?;
        self.await_last(requests, first)
    }

    /// Sends requests to a subsystem of netfilter that carries out all of them or none.
    #[cfg(feature = "drivers")]
    pub(crate) fn transaction(&mut self, requests: &[Request], subsystem: u16) -> Result<()> {
        let Some(last) = requests.len().checked_sub(1) else {
            return Ok(());
        };
        // `struct nfgenmsg`: any family, version 0, the subsystem as a big-endian number.
        let [high, low] = subsystem.to_be_bytes();
        let edge = |kind| Request::new("", kind).body([0, 0, high, low]);
        let first = self.sequence;
        self.sequence = first.wrapping_add(requests.len() as u32);
        let mut out = Vec::with_capacity(256 * requests.len());
        // A refusal of the transaction as such counts as one of its first request.
        edge(NFNL_MSG_BATCH_BEGIN).write(first, 0, &mut out);
        for (index, request) in requests.iter().enumerate() {
            let ack = if index == last { NLM_F_ACK } else { 0 };
            request.write(first.wrapping_add(index as u32), ack, &mut out);
        }
        edge(NFNL_MSG_BATCH_END).write(self.sequence, 0, &mut out);
        self.send(&out, &requests[0].what)?;
        self.await_last(requests, first)
    }

    /// Reads answers until that of the last request; the first failure counts.
    fn await_last(&self, requests: &[Request], first: u32) -> Result<()> {
        let last = requests.len() - 1;
        let mut failure = None;
        loop {
            let datagram = match self.receive(&requests[last].what) {
                Ok(datagram) => datagram,
                // After a failure that ended everything there is no more to come.
                Err(lost) => return Err(failure.unwrap_or(lost)),
            };
            for reply in Replies(&datagram) {
                let index = reply.sequence.wrapping_sub(first) as usize;
                // What belongs to an earlier, abandoned exchange is not ours.
                if reply.kind != NLMSG_ERROR || index > last {
                    continue;
                }
                if let Some(error) = reply.error(&requests[index].what) {
                    failure.get_or_insert(error);
                }
                if index == last {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Sends one request that is answered by one message, and returns that message's body.
    #[cfg(feature = "drivers")]
    pub(crate) fn get(&mut self, request: &Request) -> Result<Vec<u8>> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut out = Vec::with_capacity(128);
        request.write(sequence, 0, &mut out);
        self.send(&out, &request.what)?;
        loop {
            for reply in Replies(&self.receive(&request.what)?) {
                if reply.sequence != sequence {
                    continue;
                }
                if reply.kind != NLMSG_ERROR {
                    return Ok(reply.body.to_vec());
                }
                if let Some(error) = reply.error(&request.what) {
                    return Err(error);
                }
            }
        }
    }

    /// Sends one request that is answered by a list, and returns the bodies of the list's messages.
    #[cfg(feature = "drivers")]
    pub(crate) fn dump(&mut self, request: &Request) -> Result<Vec<Vec<u8>>> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut out = Vec::with_capacity(128);
        request.write(sequence, NLM_F_DUMP, &mut out);
        self.send(&out, &request.what)?;
        let mut list = Vec::new();
        loop {
            for reply in Replies(&self.receive(&request.what)?) {
                match reply.kind {
                    _ if reply.sequence != sequence => {}
                    NLMSG_DONE => return Ok(list),
                    NLMSG_ERROR => return reply.error(&request.what).map_or(Ok(list), Err),
                    _ => list.push(reply.body.to_vec()),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], what: &str) -> Result<()> {
        let sent = self.raw.send(bytes, 0);
        sent.map(drop).map_err(|e| Error::kernel(what, e))
    }

    /// One datagram, which may hold several replies.
    ///
    /// The kernel has answered before the send returns, so there is never a need to wait, and a lost answer is an error.
    fn receive(&self, what: &str) -> Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER);
        loop {
            match self.raw.recv(&mut buffer, MSG_DONTWAIT) {
                Ok(_) => return Ok(buffer),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::kernel(format!("{what}: read the answer"), e)),
            }
        }
    }
}

/// One message of a datagram from the kernel.
struct Reply<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Reply<'_> {
    /// The error that this reply of kind `NLMSG_ERROR` carries; an acknowledgement carries none.
    fn error(&self, what: &str) -> Option<Error> {
        let errno = match self.body.first_chunk::<4>() {
            Some(errno) => i32::from_ne_bytes(*errno),
            None => -EPROTO,
        };
        if errno == 0 {
            return None;
        }
        let error = Error::kernel(what, io::Error::from_raw_os_error(errno.wrapping_neg()));
        Some(match self.explanation() {
            Some(text) => error.hint(format!("the kernel says: {text}")),
            None => error,
        })
    }

    /// The text of an extended acknowledgement, which follows the header of the request.
    fn explanation(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let mut rest = self.body.get(4 + HEADER..)?;
        if self.flags & NLM_F_CAPPED == 0 {
            let request = u32::from_ne_bytes(*self.body.get(4..8)?.first_chunk()?) as usize;
            rest = rest.get(request.checked_sub(HEADER)?.next_multiple_of(4)..)?;
        }
        while let Some((length, kind)) = attribute_header(rest) {
            let value = rest.get(4..length)?;
            if kind == NLMSGERR_ATTR_MSG {
                let text = value.split(|byte| *byte == 0).next()?;
                return Some(String::from_utf8_lossy(text).into_owned());
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
        None
    }
}

fn attribute_header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u16::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    (length >= 4).then_some((length, kind))
}

/// The messages of one datagram; it ends at the first that does not fit.
struct Replies<'a>(&'a [u8]);

impl<'a> Iterator for Replies<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        let bytes = self.0;
        let header = bytes.first_chunk::<HEADER>()?;
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let body = bytes.get(HEADER..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Reply {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            body,
        })
    }
}

/// The kernel's own buffer for an answer is never larger (`NLMSG_GOODSIZE` and the dumps' 32 KiB).
const RECEIVE_BUFFER: usize = 32 << 10;

/// From `linux/netlink.h`: the size of `struct nlmsghdr`, message kinds, flags and attributes.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
#[cfg(feature = "drivers")]
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
#[cfg(feature = "drivers")]
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
#[cfg(feature = "drivers")]
const TRANSACTION_BUFFER: usize = 1 << 20;
/// From `linux/netfilter/nfnetlink.h`.
#[cfg(feature = "drivers")]
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
#[cfg(feature = "drivers")]
const NFNL_MSG_BATCH_END: u16 = 0x11;
/// From `linux/socket.h`.
const MSG_DONTWAIT: i32 = 0x40;
/// What an answer that breaks the protocol is reported as.
const EPROTO: i32 = 71;
