//! One connection to a message bus, or to systemd itself: authentication, calls, signals. Every wait has an end.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::value::Value;
use super::wire::{Kind, Message};

/// Where a bus listens.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Address {
    /// A socket's path; with `@` in front a name in the abstract namespace.
    pub socket: String,
    /// systemd's own socket: no bus between, so no name and no registration.
    #[serde(default)]
    pub direct: bool,
}

/// Why a call has no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side is gone, or was never there.
    Gone(Errno),
    /// It answered nothing in time.
    Late,
    /// It answered with an error: name, text.
    Refused(String, String),
    /// It answered what can't be understood.
    Malformed,
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    direct: bool,
    timeout: Duration,
    serial: u32,
    received: Vec<u8>,
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects and authenticates by the credentials that the socket has.
    ///
    /// # Errors
    /// Nobody listens there, refuses us, or does not answer.
    pub fn connect(address: &Address, timeout: Duration) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let unix = match address.socket.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(address.socket.as_str()),
        };
        let unix = unix.map_err(Failure::Gone)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(Failure::Gone)?;
        // EAGAIN: its queue is full (unix(7)).
        while let Err(errno) = rustix::net::connect(&socket, &unix) {
            if errno != Errno::AGAIN && errno != Errno::INTR {
                return Err(Failure::Gone(errno));
            }
            if Instant::now() >= deadline {
                return Err(Failure::Late);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut bus = Self {
            socket,
            direct: address.direct,
            timeout,
            serial: 0,
            received: Vec::new(),
            signals: VecDeque::new(),
        };
        bus.authenticate(deadline)?;
        if !bus.direct {
            let name = "org.freedesktop.DBus";
            bus.call(name, "/org/freedesktop/DBus", name, "Hello", Vec::new())?;
        }
        Ok(bus)
    }

    /// Whether systemd itself is at the other end.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// "Authentication Protocol", EXTERNAL without a name: who we are the socket tells, also from within a user
    /// namespace, where our own number would be another one. All at once, as sd-bus does it: systemd's own socket
    /// overlooks a first call that arrives together with BEGIN.
    fn authenticate(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)?;
        self.expect(b"DATA", deadline)?;
        self.expect(b"OK", deadline)
    }

    fn expect(&mut self, word: &[u8], deadline: Instant) -> Result<(), Failure> {
        let end = loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            if self.received.len() > 4096 {
                return Err(Failure::Malformed);
            }
            self.receive(deadline)?;
        };
        let line: Vec<u8> = self.received.drain(..end + 2).collect();
        if line.starts_with(word) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line[..end]).into_owned();
        Err(Failure::Refused("authentication".into(), text))
    }

    /// Calls a method and waits for the answer.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn call(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + self.timeout;
        self.serial += 1;
        let destination = if self.direct { "" } else { destination };
        let call = Message {
            serial: self.serial,
            path: path.into(),
            interface: interface.into(),
            member: member.into(),
            destination: destination.into(),
            body,
            ..Message::new(Kind::Call)
        };
        self.send(&call.encode().map_err(|_| Failure::Malformed)?, deadline)?;
        loop {
            let message = self.next(deadline)?;
            match message.kind {
                Kind::Return if message.reply_to == self.serial => return Ok(message.body),
                Kind::Error if message.reply_to == self.serial => {
                    let text = message.body.first().and_then(Value::as_text).unwrap_or_default();
                    return Err(Failure::Refused(message.error, text.into()));
                }
                Kind::Signal => self.signals.push_back(message),
                // An answer that is given twice, or a call of somebody else.
                _ => {}
            }
        }
    }

    /// Waits for the first signal that `pick` makes something of, those that came meanwhile included.
    ///
    /// # Errors
    /// None came in time, or the other side is gone.
    pub fn signal<T>(&mut self, pick: impl Fn(&Message) -> Option<T>) -> Result<T, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(deadline)?,
            };
            if message.kind == Kind::Signal
                && let Some(found) = pick(&message)
            {
                return Ok(found);
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Message, Failure> {
        loop {
            if let Some(length) = Message::length(&self.received).map_err(|_| Failure::Malformed)?
                && self.received.len() >= length
            {
                let bytes: Vec<u8> = self.received.drain(..length).collect();
                return Message::decode(&bytes).map_err(|_| Failure::Malformed);
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Failure::Gone(Errno::CONNRESET)),
                Ok((length, _)) => {
                    self.received.extend_from_slice(&buffer[..length]);
                    return Ok(());
                }
                Err(errno) => self.wait(errno, PollFlags::IN, deadline)?,
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(errno) => self.wait(errno, PollFlags::OUT, deadline)?,
            }
        }
        Ok(())
    }

    /// After EAGAIN, until the socket is ready.
    fn wait(&self, errno: Errno, events: PollFlags, deadline: Instant) -> Result<(), Failure> {
        match errno {
            Errno::AGAIN => {}
            Errno::INTR => return Ok(()),
            errno => return Err(Failure::Gone(errno)),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.socket, events)], Some(&left)) {
            Ok(0) => Err(Failure::Late),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Failure::Gone(errno)),
        }
    }
}
