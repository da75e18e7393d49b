//! The one error type at the surface: a chain of what was being done, the cause, a hint, an exit code.

use std::fmt;

/// What a failure means to the caller; decides the exit code and lets a verb react to a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wrong use of the command line.
    Usage,
    /// `davit nosuchverb`.
    UnknownCommand,
    /// A fault in config.json or another input file.
    Config,
    /// The container is not there.
    NotFound,
    /// A container of this ID is there already.
    Exists,
    /// The container does not run (any more).
    NotRunning,
    /// The container is in another state in which the verb is not allowed.
    State,
    /// The container's program is not there, or can't be executed.
    Program,
    /// A system call or a file operation failed.
    System,
}

/// One failure, printed as one line: `outer: inner: cause (hint)`.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    errno: Option<i32>,
    exit_code: Option<i32>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message of its own.
    #[cold]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, errno: None, exit_code: None }
    }

    /// A fault in the configuration at `path`, a JSON path such as `process.cwd`.
    #[cold]
    pub fn config(path: &str, message: impl fmt::Display) -> Self {
        Self::new(Kind::Config, format!("{path}: {message}"))
    }

    /// A failed system call or file operation: `what: no such file or directory`.
    #[cold]
    pub fn system(what: impl fmt::Display, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let message = format!("{what}: {}", errno_text(&error));
        Self { kind: Kind::System, message, hint: None, errno: error.raw_os_error(), exit_code: None }
    }

    /// Puts what was being done in front.
    #[must_use]
    #[cold]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    #[cold]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Calls a place by another name, such as a JSON path by the option that stands for it.
    #[must_use]
    pub fn rename(mut self, from: &str, to: &str) -> Self {
        self.message = self.message.replace(from, to);
        self.hint = self.hint.map(|hint| hint.replace(from, to));
        self
    }

    /// The kind given at the start.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno of the failed system call, if it was one.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// Gives it another exit code than its kind has.
    #[must_use]
    #[cold]
    pub fn exiting(mut self, code: i32) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// The name of the kind in JSON log records: it stays when texts change (docs/errors.md).
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::Usage => "usage",
            Kind::UnknownCommand => "unknown-command",
            Kind::Config => "config",
            Kind::NotFound => "not-found",
            Kind::Exists => "exists",
            Kind::NotRunning => "not-running",
            Kind::State => "state",
            Kind::Program => "program",
            Kind::System => "system",
        }
    }

    /// The process exit code: 3 for an unknown command, 1 for everything else that has no code of its own (features.md E1).
    pub fn exit_code(&self) -> i32 {
        self.exit_code.unwrap_or(if self.kind == Kind::UnknownCommand { 3 } else { 1 })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Adds what was being done to a failure on its way out.
pub trait Context<T> {
    /// Puts `doing` in front of the error's text.
    ///
    /// # Errors
    /// The same failure with a longer text.
    fn context(self, doing: impl fmt::Display) -> Result<T>;

    /// As [`Context::context`], with a text that is made only on failure.
    ///
    /// # Errors
    /// The same failure with a longer text.
    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for Result<T, Error> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.context(doing))
    }

    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(doing()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::system(doing, error))
    }

    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| Error::system(doing(), error))
    }
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::system(doing, error))
    }

    fn with_context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| Error::system(doing(), error))
    }
}

/// The errno's text in lower case, as callers match it (`no such file or directory`), without std's
/// `(os error 2)`.
#[cold]
pub fn errno_text(error: &std::io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let text = nix::errno::Errno::from_raw(code).desc();
    let mut chars = text.chars();
    match chars.next() {
        // "RFS specific error", "I/O error": an abbreviation stays as it is.
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_from_the_outside_in() {
        let error = Error::system("open /x", rustix::io::Errno::NOENT).context("create c1").hint("make it");
        assert_eq!(error.to_string(), "create c1: open /x: no such file or directory (hint: make it)");
        assert_eq!(error.errno(), Some(2));
        assert_eq!(error.exit_code(), 1);
        assert_eq!(Error::new(Kind::UnknownCommand, "x").exit_code(), 3);
    }

    #[test]
    fn abbreviations_keep_their_case() {
        assert_eq!(errno_text(&rustix::io::Errno::IO.into()), "I/O error");
    }
}
