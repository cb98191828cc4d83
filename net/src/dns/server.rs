//! The server of one network: one thread, which answers what it knows and passes on what it does not.

use super::answer::{Answer, answer, refusal};
use super::cache::Cache;
use super::names::Names;
use crate::{Error, Namespace, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use simple_dns::rdata::RData;
use simple_dns::{Packet, RCODE};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Is told every name of the world that was resolved, with its addresses and for how long they are good, before the
/// member that asked learns them.
pub type Observer = Box<dyn Fn(&str, &[IpAddr], Duration) + Send + Sync>;

/// A running DNS server; it ends when this is dropped.
#[derive(Debug)]
pub struct NameServer {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Listens at port 53 of these addresses in the network's namespace, UDP and TCP, and asks the resolvers from the
    /// host's namespace for what is no name of the network.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when another server is there, `EADDRNOTAVAIL` when an address is not one of the namespace's.
    pub fn start(
        network: &Namespace,
        addresses: &[IpAddr],
        host: Arc<Namespace>,
        names: Names,
        resolvers: Vec<SocketAddr>,
        observer: Option<Observer>,
    ) -> Result<NameServer> {
        let failed = |e: io::Error| Error::kernel("start the name server", e);
        let sockets = network.run(|| listen(addresses))?.map_err(failed)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| failed(e.into()))?;
        let stop = Arc::new(stop);
        let shared = Arc::new(Shared {
            names,
            resolvers,
            observer,
            cache: Mutex::default(),
            turn: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let mut server = Server {
            sockets,
            stop: Arc::clone(&stop),
            shared,
            pending: Vec::new(),
            random: RandomState::new(),
        };
        let thread = thread::Builder::new()
            .name("dns".into())
            // In the host's namespace, where the sockets for the resolvers belong.
            .spawn(move || drop(host.run(move || server.serve())))
            .map_err(failed)?;
        Ok(NameServer {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

fn listen(addresses: &[IpAddr]) -> io::Result<Sockets> {
    let mut sockets = Sockets {
        udp: Vec::new(),
        tcp: Vec::new(),
    };
    for address in addresses {
        let udp = UdpSocket::bind((*address, 53))?;
        udp.set_nonblocking(true)?;
        sockets.udp.push(udp);
        let tcp = TcpListener::bind((*address, 53))?;
        tcp.set_nonblocking(true)?;
        sockets.tcp.push(tcp);
    }
    Ok(sockets)
}

/// What the server's thread and those of its TCP connections have in common.
struct Shared {
    names: Names,
    resolvers: Vec<SocketAddr>,
    observer: Option<Observer>,
    cache: Mutex<Cache>,
    turn: AtomicUsize,
    connections: AtomicUsize,
}

struct Server {
    sockets: Sockets,
    stop: Arc<OwnedFd>,
    shared: Arc<Shared>,
    pending: Vec<Pending>,
    random: RandomState,
}

/// A query that a resolver was asked.
struct Pending {
    /// A socket of its own, hence a port of its own, which a forger would have to guess as well.
    socket: UdpSocket,
    /// The number under which the resolver was asked.
    id: [u8; 2],
    query: Vec<u8>,
    client: SocketAddr,
    /// Which of the server's sockets the client asked.
    asked: usize,
    resolver: usize,
    deadline: Instant,
}

/// How long one resolver has to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Queries that may wait for resolvers at once; more are refused.
const MOST_PENDING: usize = 512;
const MOST_CONNECTIONS: usize = 32;
/// Queries answered before the others get their turn.
const BURST: usize = 64;
const LARGEST: usize = 65_535;

impl Server {
    fn serve(&mut self) {
        let mut buffer = vec![0; LARGEST];
        while let Ok(ready) = self.wait() {
            if ready.first() == Some(&true) {
                return;
            }
            let (udp, tcp) = (self.sockets.udp.len(), self.sockets.tcp.len());
            let is_ready = |index: usize| ready.get(1 + index).copied().unwrap_or(false);
            // From the last: a finished one's place is taken by the last, which was looked at already.
            for index in (0..self.pending.len())
                .rev()
                .filter(|index| is_ready(udp + tcp + index))
            {
                self.hear_resolver(index, &mut buffer);
            }
            (0..udp)
                .filter(|index| is_ready(*index))
                .for_each(|index| self.hear_clients(index, &mut buffer));
            (0..tcp)
                .filter(|index| is_ready(udp + index))
                .for_each(|index| self.accept(index));
            self.give_up_late_ones();
        }
    }

    /// Waits until something can be read, and says what: the stop, the sockets for UDP and TCP, the resolvers'.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let sockets = self
            .sockets
            .udp
            .iter()
            .map(AsFd::as_fd)
            .chain(self.sockets.tcp.iter().map(AsFd::as_fd));
        let all = [self.stop.as_fd()]
            .into_iter()
            .chain(sockets)
            .chain(self.pending.iter().map(|p| p.socket.as_fd()));
        let mut fds: Vec<PollFd<'_>> = all
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let next = self.pending.iter().map(|pending| pending.deadline).min();
        let timeout = next.map(|next| {
            let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    fn hear_clients(&mut self, asked: usize, buffer: &mut [u8]) {
        for _ in 0..BURST {
            let Ok((length, client)) = self.sockets.udp[asked].recv_from(buffer) else {
                return;
            };
            let query = &buffer[..length];
            match self.shared.answer(query) {
                Some(reply) => self.send(asked, &fitting(query, reply), client),
                None => self.ask_resolver(query.to_vec(), client, asked, 0),
            }
        }
    }

    /// A client that does not take its answer has itself to blame.
    fn send(&self, asked: usize, reply: &[u8], client: SocketAddr) {
        if !reply.is_empty() {
            let _ = self.sockets.udp[asked].send_to(reply, client);
        }
    }

    fn ask_resolver(&mut self, query: Vec<u8>, client: SocketAddr, asked: usize, first: usize) {
        let id = (self.random.hash_one((Instant::now(), client)) as u16).to_be_bytes();
        let room = self.pending.len() < MOST_PENDING;
        for (resolver, address) in self
            .shared
            .resolvers
            .iter()
            .enumerate()
            .skip(first)
            .filter(|_| room)
        {
            if let Ok(socket) = ask(*address, id, &query) {
                let deadline = Instant::now() + PATIENCE;
                self.pending.push(Pending {
                    socket,
                    id,
                    query,
                    client,
                    asked,
                    resolver,
                    deadline,
                });
                return;
            }
        }
        self.send(asked, &failure(&query), client);
    }

    fn hear_resolver(&mut self, index: usize, buffer: &mut [u8]) {
        let pending = &self.pending[index];
        match pending.socket.recv(buffer) {
            Ok(length) if is_answer(&buffer[..length], pending.id, &pending.query) => {
                let pending = self.pending.swap_remove(index);
                let mut reply = buffer[..length].to_vec();
                reply[..2].copy_from_slice(&pending.query[..2]);
                self.shared.learn(&pending.query, &reply);
                self.send(
                    pending.asked,
                    &fitting(&pending.query, reply),
                    pending.client,
                );
            }
            // A forgery, or garbage: the true answer may still come.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Nobody is there.
            Err(_) => self.ask_next(index),
        }
    }

    fn ask_next(&mut self, index: usize) {
        let Pending {
            query,
            client,
            asked,
            resolver,
            ..
        } = self.pending.swap_remove(index);
        self.ask_resolver(query, client, asked, resolver + 1);
    }

    fn give_up_late_ones(&mut self) {
        let now = Instant::now();
        while let Some(late) = self
            .pending
            .iter()
            .position(|pending| pending.deadline <= now)
        {
            self.ask_next(late);
        }
    }

    /// A connection gets a thread, since it may be slow; there are never many.
    fn accept(&self, index: usize) {
        let Ok((stream, _)) = self.sockets.tcp[index].accept() else {
            return;
        };
        if self.shared.connections.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let shared = Arc::clone(&self.shared);
        let serve = move || {
            // What goes wrong with a client's connection ends it, and concerns nobody else.
            let _ = shared.converse(stream);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new()
            .name("dns-tcp".into())
            .spawn(serve)
            .is_err()
        {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// The answer to a query, empty for none at all; `None` if a resolver must be asked.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        match answer(
            query,
            &self.names,
            self.turn.fetch_add(1, Ordering::Relaxed),
        ) {
            Answer::Reply(reply) => Some(reply),
            Answer::Ignore => Some(Vec::new()),
            Answer::Forward => self
                .cache
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(query, Instant::now()),
        }
    }

    /// Remembers an answer of the world, and tells the observer before anybody else.
    fn learn(&self, query: &[u8], reply: &[u8]) {
        if let Some(observer) = &self.observer {
            tell(observer, reply);
        }
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(query, reply, Instant::now());
    }

    /// Serves a client that asks by TCP (RFC 1035 section 4.2.2: two bytes of length before each message).
    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        while let Some(query) = read_message(&mut stream)? {
            let reply = match self.answer(&query) {
                Some(reply) => reply,
                None => self.ask_by_tcp(&query).unwrap_or_else(|| failure(&query)),
            };
            if reply.is_empty() {
                return Ok(());
            }
            write_message(&mut stream, &reply)?;
        }
        Ok(())
    }

    fn ask_by_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let ask = |resolver: &SocketAddr| -> io::Result<Option<Vec<u8>>> {
            let mut stream = TcpStream::connect_timeout(resolver, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write_message(&mut stream, query)?;
            read_message(&mut stream)
        };
        let reply = self
            .resolvers
            .iter()
            .find_map(|resolver| ask(resolver).ok().flatten())?;
        let id = query.first_chunk::<2>()?;
        is_answer(&reply, *id, query).then(|| {
            self.learn(query, &reply);
            reply
        })
    }
}

fn ask(resolver: SocketAddr, id: [u8; 2], query: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr = if resolver.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(resolver)?;
    let mut message = query.to_vec();
    if let Some(start) = message.get_mut(..2) {
        start.copy_from_slice(&id);
    }
    socket.send(&message)?;
    Ok(socket)
}

/// Whether a datagram is the answer to this question and none that somebody else made up.
fn is_answer(reply: &[u8], id: [u8; 2], query: &[u8]) -> bool {
    let (Ok(reply), Ok(query)) = (Packet::parse(reply), Packet::parse(query)) else {
        return false;
    };
    let same = match (reply.questions.as_slice(), query.questions.as_slice()) {
        ([theirs], [ours]) => {
            theirs.qtype == ours.qtype
                && theirs
                    .qname
                    .to_string()
                    .eq_ignore_ascii_case(&ours.qname.to_string())
        }
        _ => false,
    };
    same && reply.id().to_be_bytes() == id && reply.has_flags(simple_dns::PacketFlag::RESPONSE)
}

/// Tells of the addresses in an answer, under the name that was asked for: an alias's target is the same host.
fn tell(observer: &Observer, reply: &[u8]) {
    let Ok(packet) = Packet::parse(reply) else {
        return;
    };
    let Some(question) = packet.questions.first() else {
        return;
    };
    let mut lifetime = u32::MAX;
    let mut addresses = Vec::new();
    for record in &packet.answers {
        match &record.rdata {
            RData::A(a) => addresses.push(IpAddr::from(Ipv4Addr::from(a.address))),
            RData::AAAA(a) => addresses.push(IpAddr::from(Ipv6Addr::from(a.address))),
            _ => continue,
        }
        lifetime = lifetime.min(record.ttl);
    }
    if !addresses.is_empty() {
        observer(
            &question.qname.to_string(),
            &addresses,
            Duration::from_secs(lifetime.into()),
        );
    }
}

fn failure(query: &[u8]) -> Vec<u8> {
    let id = query.first_chunk::<2>().copied().unwrap_or_default();
    match refusal(id, RCODE::ServerFailure) {
        Answer::Reply(reply) => reply,
        Answer::Forward | Answer::Ignore => Vec::new(),
    }
}

/// An answer of ours that is longer than the client takes by UDP is cut to its header, which says so (RFC 1035
/// section 4.1.1, TC): the client asks again by TCP.
fn fitting(query: &[u8], reply: Vec<u8>) -> Vec<u8> {
    let room = Packet::parse(query)
        .ok()
        .and_then(|query| query.opt().map(|opt| opt.udp_packet_size));
    if reply.len() <= usize::from(room.unwrap_or(512).max(512)) {
        return reply;
    }
    let mut cut = reply;
    cut.truncate(12);
    cut[2] |= 2;
    cut[4..12].fill(0);
    cut
}

/// `None` when the other side has no more to say.
fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat())
}
