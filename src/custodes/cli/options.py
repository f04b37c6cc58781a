"""Options of a command: the fields of a dataclass, from a YAML file first and then from flags."""

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_origin, get_type_hints

import tyro

from custodes.cli.recorded import take_flag
from custodes.ranges import check_ranges
from custodes.registry import Chosen, OptionsOf, Registry, nearest
from custodes.types import InputError

T = TypeVar("T")

RENAMED = {
    "preferences": "judgments",
    "heldout-tasks": "measure-on",
    "heldout": "measure-on",
    "prompts": "tasks",
    "method": "algorithm, aggregator, annotator-model",
    "bootstrap": "resamples",
    "name": "annotator",
    "pairs": "pairs-shown",
    "best-of": "compare-best-of",
    "ensemble": "members",
    "rounds": "rounds-per-stage, quotes",
    "keep": "tests-per-function",
}
"""Options that have another name now, where there are several the first that the command has."""


class Option(NamedTuple):
    """One option of a command, a field of its dataclass or of one inside that."""

    name: str
    type: Any
    is_flag: bool  # it is named on the command line, and does not go by its position
    marks: tuple[Any, ...]


def parse_options(name: str, kind: type[T], given: list[str]) -> tuple[T, Path | None]:
    """The options of command ``name``, a dataclass ``kind``, and the configuration file that gave some of them.

    Fields of nested dataclasses are options like the others. A plug-in that is chosen (``--algorithm``) is read first; its
    own options are then options of the command. Raises InputError with one sentence for an option, a value or a file
    that is wrong.
    """
    config, given = take_flag(given, "--config", "YAML file")
    file = None if config is None else Path(config)
    content, plugins = {} if file is None else _read_yaml(file), list[Plugin]()
    joined, options = kind, list(options_in(kind))
    if any(isinstance(mark, Chosen | OptionsOf) for option in options for mark in option.marks):
        joined = with_plugins(kind, lambda field: _given_value(given, field) or content.get(field), plugins)
        options = list(options_in(joined))
    words = _checked(name, given, options, plugins)
    default = tyro.MISSING_NONPROP if file is None else _from_yaml(joined, file, content, plugins)
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            parsed = tyro.cli(
                joined, prog=f"custodes {name}", args=words, default=default, config=(tyro.conf.OmitArgPrefixes,)
            )
            check_ranges(parsed)
    except SystemExit as ended:
        if not ended.code:  # after --help
            raise
        raise InputError(_one_sentence(drawn.getvalue(), f"custodes {name}")) from None
    return (parsed if joined is kind else _settled(parsed, kind)), file


def options_in(kind: type) -> Iterator[Option]:
    """Every option of a dataclass, those of nested ones too."""
    hints, marked = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            yield from options_in(hints[f.name])
        elif f.init:
            marks = getattr(marked[f.name], "__metadata__", ())
            yield Option(f.name, hints[f.name], tyro.conf.Positional not in marks, marks)


def _checked(name: str, given: list[str], options: Sequence[Option], plugins: Sequence["Plugin"]) -> list[str]:
    """The words for tyro: ``-n`` and positions by their names are understood, and ``--reward A --reward B`` is ``--reward A B``.

    Raises InputError where a word is an option that the command does not have.
    """
    known = {option.name.replace("_", "-"): option.type for option in options if option.is_flag}
    positions = {option.name.replace("_", "-") for option in options if not option.is_flag}
    allowed = {"help", *known, *(f"no-{flag}" for flag, hint in known.items() if hint is bool)}
    others: list[str] = []
    several: dict[str, list[str]] = {}
    into = others
    for given_word in given:
        word = "--n" if given_word == "-n" and "n" in known else given_word
        text, equals, value = word.partition("=")
        flag = text[2:].replace("_", "-") if text.startswith("--") else ""
        if flag in positions and not equals:  # a position may also be given by its name
            continue
        if flag and flag not in allowed:
            raise InputError(
                f"custodes {name} has no option --{flag}{_where(flag, plugins, [*known, *positions], name)}"
            )
        if get_origin(known.get(flag)) is tuple:
            into = several.setdefault("--" + flag, [])
            into += [value] if equals else []
            continue
        if word.startswith("-") and not re.match(r"-\.?\d", word):
            into = others
        into.append(word)
    return [*others, *(word for flag, values in several.items() for word in (flag, *values))]


def _where(flag: str, plugins: Sequence["Plugin"], suggested: Sequence[str], name: str) -> str:
    """The end of the sentence about an option that is none: which plug-in has it, or which option was meant."""
    for plugin in plugins:
        if owners := plugin.family.owners(flag.replace("-", "_")):
            return (
                f" {f'with --{plugin.field} {plugin.name}' if plugin.name else f'without --{plugin.field}'}; {owners}."
            )
    return f"; did you mean --{_renamed(flag, suggested)}?" if suggested else f"; see custodes {name} --help."


def _renamed(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that ``name`` has become, or is spelled most like."""
    now = [other for other in RENAMED.get(name, "").split(", ") if other in names]
    return now[0] if now else nearest(RENAMED.get(name, name), names)


@dataclass(frozen=True)
class Plugin:
    """A plug-in that a command line chose: ``field`` of its configuration, and the plug-in's name ("" for none)."""

    field: str
    family: Registry[Any]
    name: str


def with_plugins(kind: type[T], asked: Callable[[str], str | None], plugins: list[Plugin]) -> type[T]:
    """``kind`` as it is parsed: each plug-in's name is an option, and a field beside it holds the plug-in's own options.

    So do the own options of several plug-ins that another field names. ``asked`` says which name a field was given;
    ``plugins`` is filled. Raises InputError where there is no such plug-in, and
    where an option of a plug-in is called as another is.
    """
    changed: list[tuple[str, Any, Any]] = []
    hints = get_type_hints(kind, include_extras=True)
    for f in fields(kind):  # type: ignore[arg-type]
        marks = getattr(hints[f.name], "__metadata__", ())
        chosen = next((m for m in marks if isinstance(m, Chosen)), None)
        several = next((m for m in marks if isinstance(m, OptionsOf)), None)
        if chosen is not None and not chosen.by_name:
            usual: Any = f.default
            name = str(asked(f.name) or getattr(usual, "name", usual) or "")
            plugins.append(Plugin(f.name, chosen.family, name))
            changed.append((f.name, str, field(default=name)))
            if name:
                own: Any = chosen.family.find(name)
                shown = _mirror(
                    own,
                    [
                        (g.name, tyro.conf.Suppress[str], field(init=False, default=""))
                        for g in fields(own)
                        if not g.init
                    ],
                )
                begin = {g.name: getattr(usual, g.name) for g in fields(own) if g.init and isinstance(usual, own)}
                changed.append((f.name + OWN, shown, field(default=shown(**begin))))
                if twice := {o.name for o in options_in(own)} & {o.name for o in options_in(kind)}:
                    raise InputError(
                        f"{chosen.family.name} {name} has an option {min(twice)!r}, as the command has; rename it."
                    )
        elif several is not None:
            usual = next(g.default for g in fields(kind) if g.name == several.field)  # type: ignore[arg-type]
            name = asked(several.field) or ("" if usual is MISSING else str(usual))
            plugins.append(Plugin(several.field, several.family, name))
            shown = _joined(several.kinds(name) if name else [], kind)
            changed.append((f.name, shown, field(default_factory=shown)))
        elif is_dataclass(hints[f.name]):
            inner: Any = hints[f.name]
            outer: Any = with_plugins(inner, asked, plugins)
            if outer is not inner:
                whole = f.default if f.default_factory is MISSING else f.default_factory()
                added = {h.name for h in fields(outer)} - {g.name for g in fields(inner)}
                same = [g.name for g in fields(inner) if g.init and g.name + OWN not in added]
                changed.append((f.name, outer, field(default=outer(**{n: getattr(whole, n) for n in same}))))
    return _mirror(kind, changed) if changed else kind


def _joined(kinds: Sequence[type], command: type) -> Any:
    """One dataclass with the options of several plug-ins. Raises InputError for an option that is called as the command's."""
    options = list(dict.fromkeys(kind for kind in kinds if is_dataclass(kind)))
    twice = {o.name for kind in options for o in options_in(kind)} & {o.name for o in options_in(command)}
    if twice:
        raise InputError(f"a plug-in has an option {min(twice)!r}, as the command has; rename it.")
    hidden = {f.name for kind in options for f in fields(kind) if not f.init}
    changed: list[Any] = [(name, tyro.conf.Suppress[str], field(init=False, default="")) for name in sorted(hidden)]
    namespace = {"__post_init__": lambda self: None}
    return make_dataclass("Own", changed, bases=tuple(options), frozen=True, kw_only=True, namespace=namespace)


def _mirror(kind: type[T], changed: list[tuple[str, Any, Any]]) -> type[T]:
    """``kind`` with some fields changed, and without its checks."""
    namespace = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__post_init__": lambda self: None}
    return make_dataclass(kind.__name__, changed, bases=(kind,), frozen=True, kw_only=True, namespace=namespace)


OWN = "_own"
"""Ends the name of the field that holds the own options of a plug-in."""


def _settled(options: Any, kind: type[T]) -> T:
    """An instance of ``kind`` that holds what was parsed: the plug-ins themselves in place of names and own options."""
    if type(options) is kind:
        return options
    values, hints = {}, get_type_hints(kind)
    for f in (f for f in fields(kind) if f.init):  # type: ignore[arg-type]
        value = getattr(options, f.name)
        if f.name + OWN in vars(options):
            own = getattr(options, f.name + OWN)
            value = _settled(own, type(own).__bases__[0])
        elif is_dataclass(hints[f.name]):
            value = _settled(value, hints[f.name])  # type: ignore[arg-type]
        elif is_dataclass(value):  # the own options of several plug-ins
            value = {g.name: getattr(value, g.name) for g in fields(value) if g.init}
        values[f.name] = value
    return kind(**values)


def _given_value(given: list[str], option: str) -> str | None:
    """What follows ``--option`` or ``--option=`` among the words, the last of several."""
    flag, value = f"--{option.replace('_', '-')}", None
    for i, word in enumerate(given):
        if word.replace("_", "-") == flag:
            value = given[i + 1] if i + 1 < len(given) else value
        elif word.startswith(flag + "="):
            value = word.removeprefix(flag + "=")
    return value


def _read_yaml(file: Path) -> dict[str, Any]:
    """What a YAML file gives, by the options' names as Python spells them."""
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
    return {str(name).replace("-", "_"): value for name, value in content.items()}


def _from_yaml(kind: type[T], file: Path, values: dict[str, Any], plugins: Sequence[Plugin] = ()) -> T:
    """Options as a YAML file gives them; those that it must but does not give are left for flags."""
    names = {option.name for option in options_in(kind)}
    for name in values:
        if name not in names:
            for plugin in plugins:
                if owners := plugin.family.owners(name):
                    chosen = plugin.name or "none"
                    raise InputError(
                        f"configuration {file}: no option {name!r} where {plugin.field} is {chosen}; {owners}."
                    )
            raise InputError(f"configuration {file}: no option {name!r}; did you mean {_renamed(name, names)!r}?")
    try:
        return _with_values(kind, values, file)
    except InputError as error:
        raise InputError(f"configuration {file}: {str(error).removeprefix(f'configuration {file}: ')}") from None


def _with_values(kind: type[T], values: dict[str, Any], file: Path) -> T:
    """An instance of ``kind`` whose fields, nested ones too, have these values where there is one."""
    from pydantic import TypeAdapter, ValidationError

    hints, chosen = get_type_hints(kind), {}
    for f in fields(kind):  # type: ignore[arg-type]
        if not f.init:
            continue
        if is_dataclass(hints[f.name]):
            chosen[f.name] = _with_values(hints[f.name], values, file)  # type: ignore[arg-type]
        elif f.name in values:
            try:
                chosen[f.name] = TypeAdapter(hints[f.name]).validate_python(values[f.name])
            except ValidationError as error:
                what = error.errors()[0]["msg"].replace("Input should", "it should")
                raise InputError(f"{f.name} is {values[f.name]!r}; {what}.") from None
        elif f.default is MISSING and f.default_factory is MISSING:
            chosen[f.name] = tyro.MISSING
    return kind(**chosen)


def _one_sentence(drawn: str, command: str) -> str:
    """What tyro drew in a box, as one sentence."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()[1:]  # after the title
    lines = [line[1:].rstrip("│ ") for line in plain]  # the border is a blank where the terminal knows ASCII only
    inside = list(takewhile(_is_text, dropwhile(lambda line: not _is_text(line), lines)))
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


def _is_text(line: str) -> bool:
    """Whether a line of tyro's box is more than a rule."""
    return bool(line.strip(" ─-╰╯"))
