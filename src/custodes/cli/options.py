"""Options of a command: the fields of a dataclass, from a YAML file first and then from flags."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from custodes.cli.recorded import parsed
from custodes.cli.words import nearest
from custodes.ranges import check_ranges
from custodes.types import InputError

T = TypeVar("T")

RENAMED = {"preferences": "judgments", "heldout-tasks": "measure-on", "heldout": "measure-on"}
"""Options that have another name now."""


def parse(name: str, kind: type[T], given: list[str]) -> T:
    """The options of command ``name``, a dataclass ``kind``; fields of nested dataclasses are options like the others.

    Raises InputError with one sentence for an option, a value or a configuration file that is wrong.
    """
    held = list(option_types(kind))
    known = {option.replace("_", "-"): hint for option, hint, flag in held if flag}
    named = {f"--{option.replace('_', '-')}" for option, _, flag in held if not flag}
    given = [word for word in given if word not in named]  # a position may also be given by its name
    flags = {"config", "help", *known, *(f"no-{flag}" for flag, hint in known.items() if hint is bool)}
    for word in given:
        flag = word[2:].split("=")[0].replace("_", "-")
        if word.startswith("--") and flag not in flags:
            asked = RENAMED.get(flag, flag)
            hint = (
                f"did you mean --{nearest(asked, [*known, *(n[2:] for n in named)])}?"
                if held
                else f"see custodes {name} --help."
            )
            raise InputError(f"custodes {name} has no option --{flag}; {hint}")
    file, given = take_config(given)
    default = tyro.MISSING_NONPROP if file is None else from_yaml(kind, file)
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            options = tyro.cli(
                kind, prog=f"custodes {name}", args=given, default=default, config=(tyro.conf.OmitArgPrefixes,)
            )
            check_ranges(options)
    except SystemExit as ended:
        if not ended.code:  # after --help
            raise
        raise InputError(one_sentence(drawn.getvalue(), f"custodes {name}")) from None
    parsed(name, options, file)
    return options


def option_types(kind: type) -> Iterator[tuple[str, Any, bool]]:
    """(name, type, whether it is a flag and not a position) of every option."""
    hints, marked = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            yield from option_types(hints[f.name])
        else:
            yield f.name, hints[f.name], tyro.conf.Positional not in getattr(marked[f.name], "__metadata__", ())


def take_config(given: list[str]) -> tuple[Path | None, list[str]]:
    """The file after ``--config``, and the arguments without it."""
    for i, word in enumerate(given):
        if word == "--config" and i + 1 == len(given):
            raise InputError("--config needs a YAML file after it.")
        if word == "--config":
            return Path(given[i + 1]), given[:i] + given[i + 2 :]
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), given[:i] + given[i + 1 :]
    return None, given


def from_yaml(kind: type[T], file: Path) -> T:
    """Options as a YAML file gives them; those that it must but does not give are left for flags."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"configuration {file} cannot be read ({getattr(error, 'strerror', 'not UTF-8')}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"configuration {file} is not YAML: {' '.join(str(error).split())}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"configuration {file} holds {type(content).__name__}; write one option: value on each line.")
    values = {str(name).replace("-", "_"): value for name, value in content.items()}
    names = {name for name, _, _ in option_types(kind)}
    for name in values:
        if name not in names:
            raise InputError(
                f"configuration {file}: no option {name!r}; did you mean {nearest(RENAMED.get(name, name), names)!r}?"
            )
    try:
        return with_values(kind, values, file)
    except InputError as error:
        raise InputError(f"configuration {file}: {str(error).removeprefix(f'configuration {file}: ')}") from None


def with_values(kind: type[T], values: dict[str, Any], file: Path) -> T:
    """An instance of ``kind`` whose fields, nested ones too, have these values where there is one."""
    from pydantic import TypeAdapter, ValidationError

    hints, chosen = get_type_hints(kind), {}
    for f in fields(kind):  # type: ignore[arg-type]
        if is_dataclass(hints[f.name]):
            chosen[f.name] = with_values(hints[f.name], values, file)  # type: ignore[arg-type]
        elif f.name in values:
            try:
                chosen[f.name] = TypeAdapter(hints[f.name]).validate_python(values[f.name])
            except ValidationError as error:
                what = error.errors()[0]["msg"].replace("Input should", "it should")
                raise InputError(f"{f.name} is {values[f.name]!r}; {what}.") from None
        elif f.default is MISSING and f.default_factory is MISSING:
            chosen[f.name] = tyro.MISSING
    return kind(**chosen)


def one_sentence(drawn: str, command: str) -> str:
    """What tyro drew in a box, as one sentence."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()[1:]  # after the title
    lines = [line[1:].rstrip("│ ") for line in plain]  # the border is a blank where the terminal knows ASCII only
    inside = list(takewhile(is_text, dropwhile(lambda line: not is_text(line), lines)))
    if "Required options" in drawn:  # names stand four columns in, their help deeper
        missing = [line.strip() for line in inside if re.match(r" {5}\S", line)]
        return f"{command} needs {' and '.join(missing)}; see {command} --help."
    text = " ".join(" ".join(inside).split())
    text = re.sub(r"^Error parsing (--\S+): ", r"\1: ", text)
    text = re.sub(r"^Error parsing [^:]*: ", "", text)
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", text):
        given, flag, listed = choice.groups()
        choices = re.findall(r"'([^']*)'", listed)
        return f"{flag} is {given!r}; did you mean {nearest(given, choices)!r}? Choices: {', '.join(choices)}."
    text = re.sub(r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is no whole number", text)
    text = re.sub(r"could not convert string to float: ('.*')", r"\1 is no number", text)
    return (text[:1].lower() + text[1:]).rstrip(".") + "."


def is_text(line: str) -> bool:
    """Whether a line of tyro's box is more than a rule."""
    return bool(line.strip(" ─-╰╯"))
