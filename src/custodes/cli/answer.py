"""Calling a command: its options are parsed, its function is called, and what that returns is printed."""

import json
import types
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from custodes.cli.options import option_types, parse
from custodes.cli.recorded import take_options
from custodes.cli.table import Listed
from custodes.cli.words import NOTES, print_json, without_nan
from custodes.job.command import Declared
from custodes.job.invocation import finds
from custodes.job.trackers import tracking
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class Printed:
    """How a result is printed, which is no option of the work: the same work is the same work either way."""

    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """Who is told of steps beside the ledger, which is no option of the work either."""

    track: Literal["none", "wandb", "tensorboard", "trackio"] = "none"
    """Where the numbers of every step go too, beside the ledger."""


def call(listed: Listed, given: list[str]) -> int:
    """Run a command with its arguments; the exit code."""
    declared = _imported(listed)
    given = take_options(given) if declared.recorded else given
    kind = options_of(declared)
    if "-n" in given and any(name == "n" for name, _, _ in option_types(kind)):
        given = ["--n" if word == "-n" else word for word in given]
    options: Any = parse(listed.name, kind, given)
    plain = declared.options(**{f.name: getattr(options, f.name) for f in fields(declared.options) if f.init})
    tracked = declared.steps and options.track != "none"
    with tracking(options.track, plain.out, asdict(plain)) if tracked else nullcontext():
        result = declared.function(plain)
    values = as_json(result) if isinstance(result, Mapping) or hasattr(result, "to_dict") else None
    if values is not None:
        finds(without_nan(values))
    if declared.prints and options.json:
        values = as_json({} if result is None else result) if values is None else values
        for value in values if isinstance(values, list) else [values]:
            print_json(value)
    elif declared.prints:
        declared.show(plain, result)
        for note in values.get("notes", ()) if values else ():
            if note not in NOTES:
                print(f"Note: {note}")
    return int(getattr(result, "exit_code", 0))


EXTRAS = {"web": "web", "critic": "critic", "gaming": "evals"}
"""The extra with which the packages come that a guest needs."""


def _imported(listed: Listed) -> Declared:
    try:
        return listed.declared()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(listed.module.split(".")[1])
        if extra is None or str(error.name).split(".")[0] == "custodes":
            raise
        raise InputError(
            f"custodes {listed.name} needs {error.name}, which is not installed here: pip install 'custodes[{extra}]'."
        ) from None


def options_of(declared: Declared) -> type:
    """The dataclass that a command line fills: the options of the work, and how its result is printed."""
    kind = declared.options
    more = [*([Tracked] if declared.steps else []), *([Printed] if declared.prints else [])]
    if not more:
        return kind
    both = types.new_class("Options", (*more, kind), exec_body=lambda body: body.update(__doc__=kind.__doc__))
    return dataclass(frozen=True, kw_only=True)(both)


def as_json(result: Any) -> Any:
    """What JSON can hold of a result. Of a page it is the JSON file beside it; a list is one object a line."""
    if hasattr(result, "to_dict"):
        return result.to_dict()
    if isinstance(result, Path):
        data = result.with_suffix(".json")
        return json.loads(data.read_text(encoding="utf-8")) if data.is_file() else {"path": str(result)}
    if isinstance(result, Mapping):
        return {name: as_json(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [as_json(value) for value in result]
    if is_dataclass(result) and not isinstance(result, type):
        return asdict(result)
    return result
