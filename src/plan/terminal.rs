//! `process.terminal` and `process.consoleSize` (config.md, "Process").

use oci_spec::runtime::Process;

/// The pseudo-terminal that a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalPlan {
    /// Rows and columns, none of them 0; None: as the kernel makes it.
    pub size: Option<(u16, u16)>,
    /// It turns the program's newlines into CR LF (`onlcr`, stty(1)), as the kernel makes it.
    pub crlf: bool,
    /// It is bound on /dev/console.
    pub console: bool,
}

/// The terminal that the process asks for.
pub(super) fn plan(process: &Process) -> Option<TerminalPlan> {
    if process.terminal() != Some(true) {
        return None;
    }
    let number = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
    let size = process.console_size().map(|size| (number(size.height()), number(size.width())));
    Some(TerminalPlan {
        size: size.filter(|(rows, columns)| *rows > 0 && *columns > 0),
        crlf: true,
        console: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// [P3] [F8]
    #[test]
    fn a_size_needs_a_terminal_and_both_numbers() {
        let of = |terminal: bool, size: serde_json::Value| {
            let process =
                json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "terminal": terminal, "consoleSize": size});
            plan(&serde_json::from_value(process).unwrap())
        };
        assert_eq!(of(false, json!({"height": 24, "width": 80})), None);
        let size = |value| of(true, value).unwrap().size;
        assert_eq!(size(json!({"height": 24, "width": 80})), Some((24, 80)));
        assert_eq!(size(json!({"height": 24, "width": 0})), None);
        assert_eq!(size(json!(null)), None);
    }
}
