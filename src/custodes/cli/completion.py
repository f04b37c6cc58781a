"""Completion for shells: ``custodes --completion bash`` prints a script that knows every command and its options.

All of it is written into the script, so that a shell answers at once and starts no Python.
"""

import shlex
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from custodes.cli.options import options_in, with_plugins
from custodes.cli.table import GROUPS, commands, group_of
from custodes.registry import Chosen
from custodes.types import InputError

EVERYWHERE = ("--help", "--config")
RECORDED = ("--ledger", "--head-file")

POSIX = """\
# Completion of custodes for {shell}: custodes --completion {shell} > {where}
{begin}_custodes_words() {{
    case "$1" in
{cases}
    *) return 1 ;;
    esac
}}
_custodes() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="" word words
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD-1))}}"; do
        _custodes_words "${{command:+$command }}$word" > /dev/null || break
        command="${{command:+$command }}$word"
    done
    if words="$(_custodes_words "$command $previous")"; then :
    else
        words="$(_custodes_words "$command")"
        case "$current$words" in
        --*) case "$current" in -*) ;; *) words="" ;; esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _custodes custodes
"""
"""A word that is no option's value and does not begin with a dash is a file, once the command is there."""

FISH = """\
# Completion of custodes for fish: custodes --completion fish > ~/.config/fish/completions/custodes.fish
function __custodes_words
    switch "$argv[1]"
{cases}
        case '*'
            return 1
    end
end
function __custodes
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l command ""
    for word in $words[2..-1]
        __custodes_words (string trim "$command $word") > /dev/null; or break
        set command (string trim "$command $word")
    end
    if __custodes_words "$command $words[-1]" | string split -n " "
        return
    end
    set -l known (__custodes_words "$command" | string split -n " ")
    if string match -q -- "--*" "$known[1]"; and not string match -q -- "-*" "$current"
        __fish_complete_path "$current"
        return
    end
    string join -- \\n $known
end
complete -c custodes -f -a "(__custodes)"
"""


def completion(shell: str) -> str:
    """The script for bash, zsh or fish. Raises InputError for another shell."""
    words = _known_words()
    if shell == "fish":
        cases = (
            f"        case {shlex.quote(asked)}\n            echo {shlex.quote(' '.join(w))}"
            for asked, w in words.items()
        )
        return FISH.format(cases="\n".join(cases))
    if shell not in ("bash", "zsh"):
        raise InputError(f"--completion takes bash, zsh or fish, not {shell!r}.")
    cases = (f"    {shlex.quote(asked)}) echo {shlex.quote(' '.join(found))} ;;" for asked, found in words.items())
    return POSIX.format(
        shell=shell,
        cases="\n".join(cases),
        where="~/.local/share/bash-completion/completions/custodes"
        if shell == "bash"
        else "FILE; source FILE in ~/.zshrc",
        begin="autoload -U +X compinit bashcompinit && compinit && bashcompinit\n" if shell == "zsh" else "",
    )


def _known_words() -> dict[str, list[str]]:
    """What may stand on the command line -> the words that may follow it: of a command its options, of an option its choices."""
    words = {"": [*dict.fromkeys(name.split()[0] for name in commands()), "--help", "--version", "--completion"]}
    words[" --completion"] = ["bash", "zsh", "fish"]
    for group in filter(None, GROUPS):
        words[group] = [name.split()[1] for name in commands() if group_of(name) == group]
    for name, listed in commands().items():
        kind: Any = with_plugins(listed.declared().flags, lambda field: None, [])
        flags: Mapping[str, Any] = {f"--{o.name.replace('_', '-')}": o.type for o in options_in(kind) if o.is_flag}
        switches = [flag.replace("--", "--no-", 1) for flag, hint in flags.items() if hint is bool]
        words[name] = sorted({*flags, *switches, *EVERYWHERE, *RECORDED})
        for flag, hint in flags.items():
            if choices := [choice for choice in get_args(hint) if isinstance(choice, str)]:
                words[f"{name} {flag}"] = choices
        for field, hint in get_type_hints(listed.declared().flags, include_extras=True).items():
            for chosen in (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Chosen)):
                words[f"{name} --{field.replace('_', '-')}"] = chosen.family.names()
    return words
