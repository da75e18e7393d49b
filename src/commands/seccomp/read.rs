//! A profile from wherever it is written, with the places of its rules.

use std::io::Read as _;
use std::path::Path;

use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::Value;

use crate::cli::SeccompArgs;
use crate::error::{Context, Error, Kind, Result};
use crate::seccomp::{CompileError, engines};
use crate::spec::locate::{Node, line_column};
use crate::spec::{self, load};

/// What was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) profile: LinuxSeccomp,
    /// The file, for messages.
    file: String,
    raw: Vec<u8>,
    /// The JSON path of the profile in the file; with a dot at its end, or empty.
    prefix: &'static str,
    /// In a profile that rules were left out of: their places.
    rules: Option<Vec<usize>>,
}

/// What the paths of the compiler and of the parser begin with.
const PATH: &str = "linux.seccomp.";

impl Source {
    /// Reads the profile for a kernel of `arch`.
    pub(super) fn read(args: &SeccompArgs, arch: Arch) -> Result<Self> {
        let (file, raw) = raw(&args.profile)?;
        let value: Value = serde_json::from_slice(&raw)
            .map_err(|error| Error::new(Kind::Config, format!("{file}: {error}")))?;
        let Value::Object(members) = &value else {
            return Err(Error::new(Kind::Config, format!("{file}: must be a JSON object")));
        };
        let mut source = Self { profile: LinuxSeccomp::default(), file, raw, prefix: "", rules: None };
        let profile = if members.contains_key("linux") || members.contains_key("ociVersion") {
            source.no_caps(args)?;
            source.prefix = PATH;
            let (spec, _) = load::parse(&source.raw).context(&source.file)?;
            spec.linux().as_ref().and_then(|linux| linux.seccomp().clone())
        } else if engines::is_engines(members) {
            let machine = engines::Machine { arch, kernel: kernel(), caps: caps(args.caps.as_deref())? };
            let resolved = engines::resolve(members, &machine)
                .map_err(|text| Error::new(Kind::Config, format!("{}: {text}", source.file)))?;
            source.rules = Some(resolved.rules);
            Some(resolved.profile)
        } else if members.is_empty()
            || members.contains_key("defaultAction")
            || members.contains_key("syscalls")
        {
            source.no_caps(args)?;
            let profile = load::seccomp(&source.raw).context(&source.file);
            profile.map_err(|error| error.rename(PATH, ""))?
        } else {
            let text = format!("{}: has no defaultAction, so it is no seccomp profile", source.file);
            return Err(Error::new(Kind::Config, text)
                .hint("want config.json, a linux.seccomp object, or a profile of Docker or Podman"));
        };
        source.profile = profile.ok_or_else(|| source.off())?;
        Ok(source)
    }

    /// There is no filter.
    fn off(&self) -> Error {
        let text = format!("{}: no seccomp profile is in it, so no filter is loaded", self.file);
        Error::new(Kind::Config, text)
    }

    /// What the compiler found, with the places of this file.
    pub(super) fn fault(&self, error: &CompileError) -> Error {
        Error::new(Kind::Config, format!("{}: {}", self.file, self.renumbered(&error.to_string())))
    }

    /// The JSON path of a rule and the line it begins on.
    pub(super) fn rule(&self, rule: usize) -> (String, usize) {
        let at = self.rules.as_ref().and_then(|rules| rules.get(rule)).copied().unwrap_or(rule);
        self.place(&format!("syscalls[{at}]"))
    }

    /// The JSON path of a member of the profile and its line; the profile's own where it is not there.
    pub(super) fn place(&self, member: &str) -> (String, usize) {
        let path = format!("{}{member}", self.prefix);
        let tree = Node::parse(&self.raw);
        let line = line_column(&self.raw, tree.find(&path).node.from).0;
        (path, line)
    }

    /// Only the rules of engines' profiles depend on capabilities.
    fn no_caps(&self, args: &SeccompArgs) -> Result<()> {
        match args.caps {
            None => Ok(()),
            Some(_) => {
                let text = format!("--caps: {} has no rules that depend on capabilities", self.file);
                Err(Error::new(Kind::Usage, text))
            }
        }
    }

    /// The compiler's paths as they are in this file.
    fn renumbered(&self, text: &str) -> String {
        const RULE: &str = "linux.seccomp.syscalls[";
        let mut parts = text.split(RULE);
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (number, rest) = part.split_once(']').unwrap_or((part, ""));
            match (number.parse::<usize>(), &self.rules) {
                (Ok(rule), Some(rules)) => {
                    let rule = rules.get(rule).copied().unwrap_or(rule);
                    result.push_str(&format!("{RULE}{rule}]{rest}"));
                }
                _ => result.push_str(&format!("{RULE}{number}]{rest}")),
            }
        }
        if self.prefix.is_empty() { result.replace(PATH, "") } else { result }
    }
}

/// The file's name for messages and its content.
fn raw(profile: &Path) -> Result<(String, Vec<u8>)> {
    if profile == Path::new("-") {
        let mut raw = Vec::new();
        let read = std::io::stdin().read_to_end(&mut raw);
        read.map_err(|error| Error::system("read stdin", error))?;
        return Ok(("stdin".to_owned(), raw));
    }
    if profile.is_dir() {
        let name = Path::new("config.json");
        return Ok((profile.join(name).display().to_string(), spec::read(profile, name)?));
    }
    let raw = std::fs::read(profile)
        .map_err(|error| Error::system(format_args!("read {}", profile.display()), error))?;
    Ok((profile.display().to_string(), raw))
}

fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    engines::kernel(&uname.release().to_string_lossy()).unwrap_or((u32::MAX, 0))
}

/// `--caps`: names, with or without `CAP_`; `all`, which is none here; `none`; by default those of Docker's containers.
fn caps(list: Option<&str>) -> Result<Option<Vec<String>>> {
    const DOCKER: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";
    let list = list.unwrap_or(DOCKER).to_uppercase();
    let known = |word: &str| {
        let name = if word.starts_with("CAP_") { word.to_owned() } else { format!("CAP_{word}") };
        match name.parse::<caps::Capability>() {
            Ok(_) => Ok(name),
            Err(_) => Err(Error::new(Kind::Usage, format!("--caps: {word:?} is no capability"))),
        }
    };
    match list.as_str() {
        "ALL" => Ok(None),
        "NONE" | "" => Ok(Some(Vec::new())),
        list => list.split(',').map(|word| known(word.trim())).collect::<Result<_>>().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Source> {
        read_with(text, None)
    }

    fn read_with(text: &str, caps: Option<&str>) -> Result<Source> {
        let file = std::env::temp_dir().join(format!(
            "davit-seccomp-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&file, text).unwrap();
        let args =
            SeccompArgs { profile: file.clone(), caps: caps.map(str::to_owned), ..SeccompArgs::default() };
        let source = Source::read(&args, Arch::ScmpArchX86_64);
        std::fs::remove_file(&file).unwrap();
        source
    }

    const RULES: &str = r#""defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
  {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["write"], "action": "SCMP_ACT_ALLOW"}]"#;

    #[test]
    fn profiles_of_three_kinds() {
        let plain = read(&format!("{{{RULES}}}")).unwrap();
        assert_eq!(plain.rule(1), ("syscalls[1]".to_owned(), 3));
        let config = format!(r#"{{"ociVersion": "1.0.0", "linux": {{"seccomp": {{{RULES}}}}}}}"#);
        let config = read(&config).unwrap();
        assert_eq!(config.rule(1), ("linux.seccomp.syscalls[1]".to_owned(), 3));
        assert_eq!(config.place("defaultAction"), ("linux.seccomp.defaultAction".to_owned(), 1));
        let engine = RULES.replacen(
            "\"SCMP_ACT_ALLOW\"",
            "\"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_BPF\"]}",
            1,
        );
        let engine = format!("{{{engine}}}");
        let without = read(&engine).unwrap();
        assert_eq!(without.profile.syscalls().as_ref().unwrap().len(), 1);
        assert_eq!(without.rule(0), ("syscalls[1]".to_owned(), 3));
        assert_eq!(
            without.renumbered("linux.seccomp.syscalls[0].names: x, linux.seccomp.syscalls[0]"),
            "syscalls[1].names: x, syscalls[1]"
        );
        let with = read_with(&engine, Some("bpf")).unwrap();
        assert_eq!(with.profile.syscalls().as_ref().unwrap().len(), 2);
    }

    #[test]
    fn faults_are_told() {
        let fault = |text: &str| read(text).unwrap_err().to_string();
        for text in
            ["{}", r#"{"ociVersion": "1.0.0"}"#, r#"{"linux": {"seccomp": {}}, "ociVersion": "1.0.0"}"#]
        {
            assert!(fault(text).contains("no seccomp profile is in it"), "{text}");
        }
        assert!(fault("[]").ends_with(": must be a JSON object"));
        assert!(fault(r#"{"a": 1}"#).contains("has no defaultAction"));
        assert!(fault("{").contains("EOF while parsing"));
        let text = fault("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [{\"names\": 5}]}");
        assert!(text.contains("line 2 column 16: syscalls[0].names: invalid type"), "{text}");
        let caps = |caps| read_with("{\"archMap\": [], \"defaultAction\": \"SCMP_ACT_ALLOW\"}", Some(caps));
        assert!(caps("CAP_CHOWN,kill").is_ok() && caps("none").is_ok() && caps("all").is_ok());
        assert_eq!(caps("CAP_FOO").unwrap_err().to_string(), "--caps: \"CAP_FOO\" is no capability");
        let plain = read_with(&format!("{{{RULES}}}"), Some("all")).unwrap_err();
        assert!(plain.to_string().contains("has no rules that depend on capabilities"));
    }
}
