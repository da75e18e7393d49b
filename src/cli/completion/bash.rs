//! bash: one function for `complete -F`, without the package bash-completion.

use std::fmt::Write as _;

use super::{COMMANDS, Place, Values, last_words, places, scopes, spellings, values};

/// `$option` is looked up in `_davit_values`, which sets `kind`; flags are not in there.
const FUNCTIONS: &str = r#"
# Says what COMMAND [POSITION] takes as an argument.
_davit_place() {
    kind=
    case $1:$2 in
PLACES    esac
}

# Completes $cur as $kind says.
_davit_reply() {
    local words
    case $kind in
    directories)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        ;;
    files)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        ;;
    containers)
        words=$("${COMP_WORDS[0]}" "${root[@]}" list -q 2>/dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        ;;
    signals)
        case $cur in
        SIG*) mapfile -t COMPREPLY < <(compgen -A signal -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -A signal -- "SIG$cur" | sed '/JUNK/d; s/^SIG//') ;;
        esac
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
        ;;
    esac
}

_davit() {
    # A "=" is a word of its own to bash.
    local cur=${COMP_WORDS[COMP_CWORD]} word name kind='' command='' ended='' root=() place=0 i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ "$word" = = ] && [ -z "$ended" ]; then
            # After a flag: the value of the flag.
            [ -n "$kind" ] || i=$((i + 1))
        elif [ -n "$kind" ]; then
            # The value of the option before it.
            [ "$name" != root ] || [ -n "$command" ] || root=(--root "${word/#\~\//$HOME/}")
            kind=
        elif [ -n "$ended" ]; then
            place=$((place + 1))
        elif [ "$word" = -- ]; then
            ended=yes
        elif [[ $word == -?* ]]; then
            name=${word#-}
            name=${name#-}
            _davit_values "$command" "$name"
        elif [ -z "$command" ]; then
            command=$word
        else
            place=$((place + 1))
            # What follows belongs to another program.
            case $command in TRAILING) ended=yes ;; esac
        fi
    done
    [ "$cur" != = ] || [ -n "$ended" ] || cur=
    if [ -n "$kind" ]; then
        _davit_reply
    elif [ "$i" -gt "$COMP_CWORD" ] || [[ ${COMP_WORDS[COMP_CWORD]} == = ]]; then
        kind='true false'
        _davit_reply
    elif [[ $cur == -* ]] && [ -z "$ended" ]; then
        _davit_options "$command"
        _davit_reply
    elif [ -z "$command" ]; then
        kind='COMMANDS'
        _davit_reply
    else
        _davit_place "$command" "$place"
        [ -z "$kind" ] || _davit_reply
    fi
}

complete -F _davit davit
"#;

pub(super) fn script() -> String {
    let mut script = String::from("# bash completion for davit, made by: davit completion bash\n\n");
    script.push_str("# The options of COMMAND, or of the program.\n_davit_options() {\n    case $1 in\n");
    for (command, options) in scopes() {
        let words: Vec<String> = options.into_iter().flat_map(spellings).collect();
        let _ = writeln!(script, "    {}) kind='{}' ;;", quoted(command), words.join(" "));
    }
    script.push_str("    *) kind= ;;\n    esac\n}\n\n# What COMMAND's OPTION takes; nothing for a flag.\n");
    script.push_str("_davit_values() {\n    kind=\n    case $1:$2 in\n");
    for (command, options) in scopes() {
        for option in options {
            let kind = match values(option) {
                Values::Nothing => continue,
                Values::Directories => "directories".to_string(),
                Values::Files => "files".to_string(),
                Values::Words(words) => words.join(" "),
                Values::Anything => " ".to_string(),
            };
            let names = [Some(option.long), option.short];
            let names: Vec<_> = names.into_iter().flatten().map(|name| format!("{command}:{name}")).collect();
            let _ = writeln!(script, "    {}) kind='{kind}' ;;", names.join(" | "));
        }
    }
    script.push_str("    esac\n}\n");
    let trailing: Vec<_> = COMMANDS.iter().filter(|command| command.trailing).map(|c| c.name).collect();
    let functions = FUNCTIONS
        .replace("PLACES", &place_cases())
        .replace("TRAILING", &trailing.join(" | "))
        .replace("COMMANDS", &command_names());
    script + &functions
}

fn quoted(command: &str) -> &str {
    if command.is_empty() { "''" } else { command }
}

fn command_names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

fn place_cases() -> String {
    let mut cases = String::new();
    for command in COMMANDS {
        for (at, place) in places(command).into_iter().enumerate() {
            let (at, kind) = match place {
                Place::Containers => ("*".to_string(), "containers".to_string()),
                Place::Container => (at.to_string(), "containers".to_string()),
                Place::Signal => (at.to_string(), "signals".to_string()),
                Place::Command => (at.to_string(), command_names()),
                Place::SubCommand(commands) => (at.to_string(), last_words(commands)),
                Place::Files => (at.to_string(), "files".to_string()),
                Place::Shell => (at.to_string(), "bash zsh fish".to_string()),
            };
            let _ = writeln!(cases, "    {}:{at}) kind='{kind}' ;;", command.name);
        }
    }
    cases
}
