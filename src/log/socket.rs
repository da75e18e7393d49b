//! Records for systemd's journal and for syslog: one datagram each, to a socket that is always at the same place.
//!
//! The journal's native protocol is that of systemd's documentation ("Native Journal Protocol"), syslog's that of
//! RFC 3164, without a time: whoever listens notes when a record came (section 4.3.2).

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::{Context as _, Error, Kind, Result};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// `LOG_USER` of syslog(3), as crun has it.
const FACILITY: u8 = 1 << 3;

/// A connection to one of the two, with the identifier of its records.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) socket: OwnedFd,
    service: Service,
    identifier: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Journal,
    Syslog,
}

/// What there is to tell.
pub(super) struct Entry<'a> {
    pub(super) level: &'a str,
    pub(super) message: &'a str,
    /// The stable name of a failure's kind.
    pub(super) code: Option<&'a str>,
}

impl Remote {
    /// Connects if the name is `journald:IDENTIFIER` or `syslog:IDENTIFIER`; else none. Without an identifier it is
    /// `davit`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(super) fn open(name: &Path) -> Result<Option<Self>> {
        let text = name.to_string_lossy();
        let (service, path, identifier) = match text.split_once(':') {
            Some(("journald", identifier)) => (Service::Journal, JOURNAL, identifier),
            Some(("syslog", identifier)) => (Service::Syslog, SYSLOG, identifier),
            _ => return Ok(None),
        };
        if identifier.chars().any(char::is_control) {
            return Err(Error::new(Kind::Usage, format!("--log {text}: a control character in its name")));
        }
        let identifier = if identifier.is_empty() { "davit" } else { identifier }.to_string();
        let doing = || format!("--log {text}: connect to {path}");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).with_context(doing)?;
        let address = SocketAddrUnix::new(path).with_context(doing)?;
        connect(&socket, &address).with_context(doing)?;
        Ok(Some(Self { socket, service, identifier }))
    }

    /// The whole datagram.
    pub(super) fn datagram(&self, entry: &Entry<'_>) -> Vec<u8> {
        match self.service {
            Service::Journal => journal(&self.identifier, entry),
            Service::Syslog => syslog(&self.identifier, entry),
        }
    }
}

/// The severity of syslog(3).
fn severity(level: &str) -> u8 {
    match level {
        "error" => 3,
        "warning" => 4,
        _ => 7,
    }
}

/// `NAME=VALUE` lines; a value with a newline would be told by its length, so that the message always is.
fn journal(identifier: &str, entry: &Entry<'_>) -> Vec<u8> {
    // ID is the field that crun's users look for.
    let mut text =
        format!("PRIORITY={}\nSYSLOG_IDENTIFIER={identifier}\nID={identifier}\n", severity(entry.level));
    if let Some(code) = entry.code {
        text.push_str(&format!("DAVIT_CODE={code}\n"));
    }
    let mut data = text.into_bytes();
    data.extend_from_slice(b"MESSAGE\n");
    data.extend_from_slice(&u64::try_from(entry.message.len()).unwrap_or(0).to_le_bytes());
    data.extend_from_slice(entry.message.as_bytes());
    data.push(b'\n');
    data
}

fn syslog(identifier: &str, entry: &Entry<'_>) -> Vec<u8> {
    let priority = FACILITY | severity(entry.level);
    let message = entry.message.trim_end().replace(['\n', '\r', '\0'], " ");
    format!("<{priority}>{identifier}[{}]: {message}", std::process::id()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(level: &'a str, message: &'a str, code: Option<&'a str>) -> Entry<'a> {
        Entry { level, message, code }
    }

    /// [X3] A message may hold newlines, and can't make fields of its own.
    #[test]
    fn journal_entries() {
        let data = journal("c1", &entry("error", "one\nPRIORITY=0", Some("not-found")));
        let wanted = b"PRIORITY=3\nSYSLOG_IDENTIFIER=c1\nID=c1\nDAVIT_CODE=not-found\nMESSAGE\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\n";
        assert_eq!(data, wanted);
        assert!(journal("c1", &entry("warning", "", None)).starts_with(b"PRIORITY=4\n"));
        assert!(journal("c1", &entry("debug", "", None)).starts_with(b"PRIORITY=7\n"));
    }

    /// [X3] One line, of the facility `user`.
    #[test]
    fn syslog_lines() {
        let data = syslog("c1", &entry("error", "one\ntwo\n", None));
        let wanted = format!("<11>c1[{}]: one two", std::process::id());
        assert_eq!(String::from_utf8(data).unwrap(), wanted);
    }

    /// [X3] Only the two prefixes are theirs, and an identifier is one line.
    #[test]
    fn names() {
        for file in ["/var/log/x", "file:/x", "journald", "xjournald:a"] {
            assert!(Remote::open(Path::new(file)).unwrap().is_none(), "{file}");
        }
        let error = Remote::open(Path::new("syslog:a\nb")).unwrap_err().to_string();
        assert!(error.ends_with("a control character in its name"), "{error}");
    }
}
