//! Log records and the final error: `--log`, `--log-format`, `--log-level` (features.md G14-G16, E2, E3, E13).
//!
//! containerd and BuildKit take the last record of level `error`; Podman parses the whole file as one JSON object.
//! So a failure is exactly one error record, and whoever collects warnings writes them only once all went well.
//! Nothing is ever written to stdout, and nothing here can hang: whoever should read may be slow, or gone.

mod socket;

use std::cell::Cell;
use std::fmt::{Display, Write as _};
use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use crate::cli::{Global, Level, LogFormat};
use crate::error::{Context as _, Error, Result};
use socket::{Entry, Remote};

/// Longer messages are cut: nobody reads more, and a pipe's reader may wait for our end before it reads.
const MAX_MESSAGE: usize = 64 * 1024;

/// A pipe that polls writable takes this many bytes without blocking (`PIPE_BUF`, pipe(7)).
const CHUNK: usize = 4096;

/// How long a full pipe may keep us, in all.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Where records go, and which.
#[derive(Debug)]
pub struct Log {
    target: Target,
    format: LogFormat,
    level: Level,
    quiet: bool,
    /// A reader let us wait once too long: what it cannot take at once is dropped.
    stuck: Cell<bool>,
}

#[derive(Debug)]
enum Target {
    Stderr,
    File(OwnedFd),
    /// The journal, or syslog.
    Remote(Remote),
    /// A FIFO that nobody reads.
    Nowhere,
}

/// What a record is made of.
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    file: Option<&'a str>,
    code: Option<&'a str>,
}

/// One record; the names of the fields are what callers look for.
#[derive(Serialize)]
struct Record<'a> {
    /// Of a failure: what callers may rely on whatever the text is ([`Error::code`]; W10).
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

impl Log {
    /// The log that the global options ask for. A file is opened (made with mode 0644, appended to) only when one is
    /// given, and without blocking: a FIFO without reader swallows the records. `journald:ID` and `syslog:ID` are sockets.
    ///
    /// # Errors
    /// The file cannot be opened, nobody listens on the socket.
    pub fn open(global: &Global) -> Result<Self> {
        let mut log = Self::stderr(global);
        let Some(path) = &global.log else { return Ok(log) };
        if let Some(remote) = Remote::open(path)? {
            log.target = Target::Remote(remote);
            return Ok(log);
        }
        let path = match path.as_os_str().as_bytes() {
            [b'f', b'i', b'l', b'e', b':', rest @ ..] => Path::new(std::ffi::OsStr::from_bytes(rest)),
            _ => path,
        };
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOCTTY
            | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        log.target = match rustix::fs::open(path, flags, mode) {
            Ok(file) => Target::File(file),
            // open(2): a FIFO without reader, opened for writing without blocking.
            Err(Errno::NXIO) => Target::Nowhere,
            Err(error) => Err(error).with_context(|| format!("open the log file {}", path.display()))?,
        };
        Ok(log)
    }

    /// A log to stderr, for when the one asked for cannot be had.
    pub fn stderr(global: &Global) -> Self {
        Self {
            target: Target::Stderr,
            format: global.log_format,
            level: global.level,
            quiet: global.quiet,
            stuck: Cell::new(false),
        }
    }

    /// Whether debug records are written, for whoever must do work to make one.
    pub fn is_debug(&self) -> bool {
        self.level >= Level::Debug
    }

    /// A step, with the source line it comes from; only with `--debug`.
    #[track_caller]
    pub fn debug(&self, message: impl Display) {
        if self.is_debug() {
            let place = std::panic::Location::caller().to_string();
            let line = Line { level: "debug", message: &message.to_string(), file: Some(&place), code: None };
            self.record(&line, std::io::stderr().as_fd());
        }
    }

    /// Something that was passed over. It never changes the result; where there is no log file, commands whose stderr
    /// is read as data stay silent.
    pub fn warn(&self, message: impl Display) {
        let silent = self.quiet && matches!(self.target, Target::Stderr);
        if self.level >= Level::Warning && !silent {
            let line = Line { level: "warning", message: &message.to_string(), file: None, code: None };
            self.record(&line, std::io::stderr().as_fd());
        }
    }

    /// The one failure of this command. With a log file: a record there and the plain text as one line on stderr.
    /// Without: a record on stderr, or the plain text if a person reads it.
    pub fn fail(&self, error: &Error) {
        let stderr = std::io::stderr();
        self.fail_to(&error.to_string(), Some(error.code()), stderr.as_fd(), stderr.is_terminal());
    }

    fn fail_to(&self, message: &str, code: Option<&str>, stderr: BorrowedFd<'_>, terminal: bool) {
        let record_on_stderr = matches!(self.target, Target::Stderr);
        let plain = !record_on_stderr || (terminal && self.format == LogFormat::Text);
        if !(record_on_stderr && plain) {
            self.record(&Line { level: "error", message, file: None, code }, stderr);
        }
        if plain {
            // What a hook in a container says may be meant for the terminal.
            let mut line = cut(message.trim_end()).replace(char::is_control, " ");
            line.push('\n');
            self.write(stderr, line.as_bytes(), CHUNK);
        }
    }

    /// Writes one record, as one line, to the log file or else to `stderr`; or sends it.
    fn record(&self, line: &Line<'_>, stderr: BorrowedFd<'_>) {
        let &Line { level, message, file, code } = line;
        let message = cut(message);
        if let Target::Remote(remote) = &self.target {
            let datagram = remote.datagram(&Entry { level, message: &message, code });
            return self.write(remote.socket.as_fd(), &datagram, usize::MAX);
        }
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let record = Record { code, file, level, msg: &message, time: &time };
        let mut line = match self.format {
            LogFormat::Text => record.text(),
            // Strings only: it cannot fail.
            LogFormat::Json => serde_json::to_string(&record).unwrap_or_default(),
        };
        line.push('\n');
        match &self.target {
            // The file is ours and does not block: one write, so that records of several processes do not mix.
            Target::File(file) => self.write(file.as_fd(), line.as_bytes(), usize::MAX),
            // The caller's open file description, whose O_NONBLOCK is not ours to set: pieces that cannot block.
            Target::Stderr => self.write(stderr, line.as_bytes(), CHUNK),
            Target::Remote(_) | Target::Nowhere => {}
        }
    }

    /// Writes all of `bytes`, in pieces of at most `piece`, and waits for a slow reader only so long. What cannot be
    /// written is dropped: there is nowhere to tell it.
    fn write(&self, fd: BorrowedFd<'_>, mut bytes: &[u8], piece: usize) {
        while !bytes.is_empty() {
            let patience = if self.stuck.get() { Timespec::default() } else { PATIENCE };
            match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&patience)) {
                Ok(0) => {
                    self.stuck.set(true);
                    return;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            match rustix::io::write(fd, &bytes[..bytes.len().min(piece)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return,
            }
        }
    }
}

impl Record<'_> {
    /// The form of logrus' TextFormatter: `time="…" level=error msg="…"`.
    fn text(&self) -> String {
        let mut text = format!("time={:?} level={} msg=", self.time, self.level);
        value(&mut text, self.msg);
        if let Some(file) = self.file {
            text.push_str(" file=");
            value(&mut text, file);
        }
        text
    }
}

/// A value as logrus writes it: bare if every letter is harmless, else quoted as Go's `%q` does.
fn value(out: &mut String, text: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(bare) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            // Writing to a String cannot fail.
            letter if letter.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(letter));
            }
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// At most [`MAX_MESSAGE`] bytes of a message, and a note if something was left out.
fn cut(message: &str) -> std::borrow::Cow<'_, str> {
    if message.len() <= MAX_MESSAGE {
        return message.into();
    }
    let border = |end: &usize| message.is_char_boundary(*end);
    let end = (0..=MAX_MESSAGE).rev().find(border).unwrap_or(0);
    format!("{} ... ({} bytes more)", &message[..end], message.len() - end).into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn pipe() -> (std::fs::File, OwnedFd) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        (reader.into(), writer)
    }

    fn all(mut reader: std::fs::File, writer: OwnedFd) -> String {
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// A path of its own for each test.
    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("davit-log-{}-{name}", std::process::id()))
    }

    fn to_file(name: &str, log_format: LogFormat) -> (PathBuf, Global) {
        let path = place(name);
        (path.clone(), Global { log: Some(path), log_format, ..Global::default() })
    }

    fn json(line: &str) -> serde_json::Value {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = record["time"].as_str().unwrap();
        let age = SystemTime::now().duration_since(humantime::parse_rfc3339(time).unwrap()).unwrap();
        assert!(age < Duration::from_secs(60), "{time}");
        record
    }

    /// [G14, G15, E2, E3, W10] With a log file: one JSON object in it, the plain line on stderr.
    #[test]
    fn failure_with_a_log_file() {
        let (path, global) = to_file("json", LogFormat::Json);
        let log = Log::open(&global).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"", "made at once, empty on success");
        let (reader, writer) = pipe();
        log.fail_to("container \"c\"\ndoes not exist\n", Some("not-found"), writer.as_fd(), true);
        assert_eq!(all(reader, writer), "container \"c\" does not exist\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let record = json(&text);
        assert_eq!(record["level"], "error");
        assert_eq!(record["msg"], "container \"c\"\ndoes not exist\n");
        assert_eq!(record["code"], "not-found");
        assert_eq!(record.as_object().unwrap().len(), 4);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o644, 0, "no more than 0644");
        // Appended to, never cut.
        log.fail_to("again", None, pipe().1.as_fd(), false);
        drop(Log::open(&global).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        std::fs::remove_file(path).unwrap();
    }

    /// [E2] Without a log file: one record on stderr in the chosen format; a person gets the plain text.
    #[test]
    fn failure_without_a_log_file() {
        let shown = |log_format, terminal| {
            let log = Log::open(&Global { log_format, ..Global::default() }).unwrap();
            let (reader, writer) = pipe();
            log.fail_to("state c1: gone", None, writer.as_fd(), terminal);
            all(reader, writer)
        };
        let text = shown(LogFormat::Text, false);
        assert!(
            text.starts_with("time=\"20") && text.ends_with("Z\" level=error msg=\"state c1: gone\"\n"),
            "{text}"
        );
        assert_eq!(json(&shown(LogFormat::Json, false))["msg"], "state c1: gone");
        assert_eq!(json(&shown(LogFormat::Json, true))["level"], "error");
        assert_eq!(shown(LogFormat::Text, true), "state c1: gone\n");
        let log = Log::open(&Global::default()).unwrap();
        let (reader, writer) = pipe();
        log.fail_to("hook said\n\x1b]0;title\x07\r\u{9b}2J", None, writer.as_fd(), true);
        assert_eq!(all(reader, writer), "hook said  ]0;title   2J\n");
    }

    /// [G15] logrus' text form: bare words stay bare, others are quoted as Go quotes.
    #[test]
    fn text_form() {
        let record = |msg| Record { code: None, file: None, level: "warning", msg, time: "T" }.text();
        assert_eq!(record("plain-word_no"), "time=\"T\" level=warning msg=plain-word_no");
        assert_eq!(record("/run/a@b^c+d.e-f"), "time=\"T\" level=warning msg=/run/a@b^c+d.e-f");
        assert_eq!(
            record("\"q\" \\ \n\r\t\x07\x08\x0b\x0c\x1b\x7f\u{85}ü日"),
            "time=\"T\" level=warning msg=\"\\\"q\\\" \\\\ \\n\\r\\t\\a\\b\\v\\f\\x1b\\x7f\\u0085ü日\""
        );
    }

    /// [G16, X2, E13] Levels: what is written at which, and where debug records come from.
    #[test]
    fn levels() {
        for (level, wanted) in [
            (Level::Error, &["error"][..]),
            (Level::Warning, &["warning", "error"]),
            (Level::Debug, &["debug", "warning", "error"]),
        ] {
            let (path, global) = to_file(&format!("level-{level:?}"), LogFormat::Json);
            // A log file takes warnings of quiet commands too.
            let log = Log::open(&Global { level, quiet: true, ..global }).unwrap();
            assert_eq!(log.is_debug(), level == Level::Debug);
            log.debug(format_args!("step {}", 1));
            log.warn("odd");
            log.fail_to("bad", None, pipe().1.as_fd(), false);
            let text = std::fs::read_to_string(&path).unwrap();
            let records: Vec<_> = text.lines().map(json).collect();
            let levels: Vec<_> = records.iter().map(|record| record["level"].as_str().unwrap()).collect();
            assert_eq!(levels, wanted);
            if level == Level::Debug {
                assert_eq!(records[0]["msg"], "step 1");
                assert!(records[0]["file"].as_str().unwrap().starts_with("src/log.rs:"));
            }
            std::fs::remove_file(path).unwrap();
        }
    }

    /// [R5] A FIFO without reader, and a full pipe, let the command go on.
    #[test]
    fn nobody_reads() {
        let (path, global) = to_file("fifo", LogFormat::Json);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        let log = Log::open(&global).unwrap();
        assert!(matches!(log.target, Target::Nowhere));
        log.fail_to("lost", None, pipe().1.as_fd(), false);
        // With a reader that does not read: full after 64 KiB, then everything is dropped after one wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        let log = Log::open(&global).unwrap();
        let (_quiet, stderr) = pipe();
        for _ in 0..100 {
            log.fail_to(&"x".repeat(70_000), None, stderr.as_fd(), false);
        }
        assert!(log.stuck.get());
        drop(reader);
        std::fs::remove_file(path).unwrap();
    }

    /// [R5] A long text is cut at a letter's border and stays one valid record.
    #[test]
    fn long_texts_are_cut() {
        let (path, global) = to_file("long", LogFormat::Json);
        let log = Log::open(&global).unwrap();
        let text = format!("x{}", "ü".repeat(70_000));
        let (reader, writer) = pipe();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::fs::File::read_to_string(&mut { reader }, &mut text).unwrap();
            text
        });
        log.fail_to(&text, None, writer.as_fd(), false);
        drop(writer);
        let shown = reader.join().unwrap();
        assert!(shown.ends_with(" ... (74466 bytes more)\n"), "{}", &shown[shown.len() - 40..]);
        let record = json(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(record["msg"].as_str().unwrap(), shown.trim_end());
        std::fs::remove_file(path).unwrap();
    }

    /// [G14, X3] A log that cannot be opened is an error that names it; `file:` is understood.
    #[test]
    fn odd_targets() {
        let open = |path: &str| Log::open(&Global { log: Some(path.into()), ..Global::default() });
        let text = open("/nowhere/log").unwrap_err().to_string();
        assert_eq!(text, "open the log file /nowhere/log: no such file or directory");
        let path = place("prefix");
        open(&format!("file:{}", path.display())).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
