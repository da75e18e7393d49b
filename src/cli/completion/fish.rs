//! fish: a list of `complete` commands.

use std::fmt::Write as _;

use super::{COMMANDS, Place, Values, last_words, places, scopes, values};

const FUNCTIONS: &str = r##"# fish completion for davit, made by: davit completion fish

# The command on the line, and how many arguments it has so far.
function __davit_line
    set -l words (commandline -opc)
    set -l command
    set -l places 0
    set -l value no
    for word in $words[2..-1]
        if test $value = yes
            set value no
            continue
        end
        switch "$command:$word"
VALUES                set value yes
            case '*:-*'
            case ':*'
                set command $word
            case '*'
                set places (math $places + 1)
        end
    end
    echo $command
    echo $places
end

# Whether the line has this command, and (if given) is at this argument of it.
function __davit_at
    set -l line (__davit_line)
    test "$line[1]" = "$argv[1]"; and begin
        test -z "$argv[2]"; or test "$line[2]" = "$argv[2]"
    end
end

function __davit_containers
    set -l words (commandline -opc)
    set -l root
    for at in (seq 2 (count $words))
        switch $words[$at]
            case --root -root
                set root --root $words[(math $at + 1)]
            case '--root=*' '-root=*'
                set root (string replace -r '^-+' -- '--' $words[$at])
        end
    end
    $words[1] $root list -q 2>/dev/null
end

complete -c davit -f
"##;

pub(super) fn script() -> String {
    let mut script = FUNCTIONS.replace("VALUES", &value_cases());
    for command in COMMANDS {
        let summary = quoted(command.summary);
        let _ = writeln!(script, "complete -c davit -n '__davit_at \"\"' -a {} -d {summary}", command.name);
    }
    for (command, options) in scopes() {
        let at = if command.is_empty() { "\"\"" } else { command };
        for option in options {
            let _ = write!(script, "complete -c davit -n '__davit_at {at}' -l {}", option.long);
            if let Some(short) = option.short {
                let _ = write!(script, " -s {short}");
            }
            script.push_str(match values(option) {
                Values::Nothing => "",
                Values::Directories => " -x -a '(__fish_complete_directories)'",
                Values::Files => " -r -F",
                Values::Words(_) | Values::Anything => " -x",
            });
            if let Values::Words(words) = values(option) {
                let _ = write!(script, " -a '{}'", words.join(" "));
            }
            let _ = writeln!(script, " -d {}", quoted(option.help));
        }
    }
    for command in COMMANDS {
        for (at, place) in places(command).into_iter().enumerate() {
            let (at, words) = match place {
                Place::Container => (format!(" {at}"), "(__davit_containers)".to_string()),
                Place::Containers => (String::new(), "(__davit_containers)".to_string()),
                Place::Signal => (format!(" {at}"), "(kill -l | string split \" \")".to_string()),
                Place::SubCommand(commands) => (format!(" {at}"), last_words(commands)),
                Place::Files => (format!(" {at}"), "(__fish_complete_path)".to_string()),
                Place::Shell => (format!(" {at}"), "bash zsh fish".to_string()),
                Place::Command => {
                    let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
                    (format!(" {at}"), names.join(" "))
                }
            };
            let _ = writeln!(script, "complete -c davit -n '__davit_at {}{at}' -a '{words}'", command.name);
        }
    }
    script
}

/// The patterns for options that take a value, one line for the program and one for each command.
fn value_cases() -> String {
    let mut cases = String::from("            case");
    for (command, options) in scopes() {
        for option in options.into_iter().filter(|option| !option.value.is_empty()) {
            for name in [Some(option.long), option.short].into_iter().flatten() {
                let _ = write!(cases, " '{command}:-{name}' '{command}:--{name}'");
            }
        }
    }
    cases.push('\n');
    cases
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
