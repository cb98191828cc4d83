//! File descriptors handed from one file table to another.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most file descriptors in one message: the kernel's `SCM_MAX_FD`.
const MOST: usize = 253;

/// What was received: a word, and the file descriptors with it or the reason why they could not be taken.
pub(crate) struct Message {
    pub(crate) word: u64,
    pub(crate) fds: io::Result<Vec<OwnedFd>>,
}

/// Two ends that keep message boundaries.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Waits until something can be read, or the other end is closed; false if neither happens in time.
pub(crate) fn readable(fd: BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(
            &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
            Some(&left),
        ) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Sends a word and file descriptors, in as many messages as that takes.
pub(crate) fn send(socket: BorrowedFd<'_>, word: u64, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut rest = fds;
    loop {
        let (now, later) = rest.split_at(rest.len().min(MOST));
        rest = later;
        let words = [word.to_ne_bytes(), (rest.len() as u64).to_ne_bytes()].concat();
        send_bytes(socket, &words, now)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Receives a word and file descriptors.
///
/// # Errors
/// `UnexpectedEof` when the other end is closed.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Message> {
    let mut fds = Vec::new();
    let mut truncated = false;
    loop {
        let ([word, later], complete) = receive_one(socket, &mut fds)?;
        truncated |= !complete;
        if later == 0 {
            let fds = if truncated {
                Err(Errno::MFILE.into())
            } else {
                Ok(fds)
            };
            return Ok(Message { word, fds });
        }
    }
}

/// Sends bytes and file descriptors in one message.
pub(crate) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Returns the words, and whether every file descriptor found a place in this process's table.
fn receive_one(socket: BorrowedFd<'_>, fds: &mut Vec<OwnedFd>) -> io::Result<([u64; 2], bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    let received = loop {
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    if received.bytes != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    let (word, later) = bytes.split_at(8);
    let number = |half: &[u8]| half.try_into().map_or(0, u64::from_ne_bytes);
    Ok((
        [number(word), number(later)],
        !received.flags.contains(ReturnFlags::CTRUNC),
    ))
}
