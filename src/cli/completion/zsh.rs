//! zsh: a function for its completion system, to be sourced or to lie in `$fpath` as `_davit`.

use std::fmt::Write as _;

use super::{COMMANDS, OptionSpec, Place, Values, last_words, places, scopes, spellings, values};

const FUNCTIONS: &str = r##"#compdef davit
# zsh completion for davit, made by: davit completion zsh

_davit_containers() {
    local -a ids
    ids=(${(f)"$(_call_program containers ${(q)davit} ${(q)root} list -q 2>/dev/null)"})
    _wanted containers expl container compadd -a ids
}

_davit_signals() {
    # The first and the last two are the shell's own.
    _wanted signals expl signal compadd ${signals[2,-3]} SIG${^signals[2,-3]}
}

_davit_commands() {
    local -a commands
    commands=(
COMMANDS    )
    _describe -t commands command commands
}

_davit() {
    local curcontext=$curcontext state ret=1 davit=$words[1]
    local -a line root
    local -A opt_args
    _arguments -C \
GLOBAL        '1: :_davit_commands' \
        '*:: :->argument' && ret=0
    [[ $state == argument ]] || return ret
    [[ -z $opt_args[--root] ]] || root=(--root $opt_args[--root])
    curcontext=${curcontext%:*:*}:davit-$words[1]:
    case $words[1] in
CASES    esac
    return ret
}

if [[ $funcstack[1] == _davit ]]; then
    _davit "$@"
else
    compdef _davit davit
fi
"##;

pub(super) fn script() -> String {
    let mut commands = String::new();
    let mut cases = String::new();
    let mut scopes = scopes();
    let program = scopes.next().map(|(_, options)| options).unwrap_or_default();
    for (command, (_, options)) in COMMANDS.iter().zip(scopes) {
        let _ = writeln!(commands, "        '{}:{}'", command.name, escaped(command.summary));
        let _ = write!(cases, "    {})\n        _arguments", command.name);
        for spec in options.into_iter().flat_map(specifications) {
            let _ = write!(cases, " \\\n            {spec}");
        }
        for (at, place) in places(command).into_iter().enumerate() {
            let _ = write!(cases, " \\\n            {}", position(at + 1, place));
        }
        cases.push_str(" && ret=0\n        ;;\n");
    }
    let mut global = String::new();
    for spec in program.into_iter().flat_map(specifications) {
        let _ = writeln!(global, "        {spec} \\");
    }
    FUNCTIONS.replace("CASES", &cases).replace("GLOBAL", &global).replace("COMMANDS", &commands)
}

/// What `_arguments` takes for an option: one text for each of its names; one given excludes the other.
fn specifications(option: &OptionSpec) -> impl Iterator<Item = String> {
    let names: Vec<String> = spellings(option).collect();
    let all = names.join(" ");
    let help = escaped(option.help);
    let placeholder = escaped(option.value);
    let (long, value) = match values(option) {
        Values::Nothing => ("", String::new()),
        Values::Directories => ("=", format!(":{placeholder}:_files -/")),
        Values::Files => ("=", format!(":{placeholder}:_files")),
        Values::Words(words) => ("=", format!(":{placeholder}:({})", words.join(" "))),
        Values::Anything => ("=", format!(":{placeholder}: ")),
    };
    names.into_iter().map(move |name| {
        // --name=value or --name value; -n value.
        let joined = if name.starts_with("--") { long } else { "" };
        format!("'({all}){name}{joined}[{help}]{value}'")
    })
}

fn position(at: usize, place: Place) -> String {
    match place {
        Place::Container => format!("'{at}: :_davit_containers'"),
        Place::Containers => "'*: :_davit_containers'".to_string(),
        Place::Signal => format!("'{at}: :_davit_signals'"),
        Place::Command => format!("'{at}: :_davit_commands'"),
        Place::SubCommand(commands) => format!("'{at}:command:({})'", last_words(commands)),
        Place::Files => format!("'{at}: :_files'"),
        Place::Shell => format!("'{at}:shell:(bash zsh fish)'"),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => escaped.push_str("'\\''"),
            ':' | '[' | ']' | '\\' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}
