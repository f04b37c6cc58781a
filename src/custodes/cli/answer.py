"""A command that runs a recipe and tells what came out: in words, or with ``--json`` as one JSON object."""

import types
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from custodes.cli.options import parse
from custodes.cli.words import print_json, without_nan
from custodes.job.recording import finds

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Printed:
    """How an answer is printed, which is no option of the recipe: the same work is the same work either way."""

    json: bool = False
    """Print one JSON object."""


def answer(
    name: str,
    kind: type[T],
    given: list[str],
    recipe: Callable[[T], R],
    show: Callable[[T, R], None],
    plain: Callable[[R], Any] = lambda found: found,
) -> int:
    """Run ``recipe`` with the options of command ``name``, a dataclass ``kind``, and print what it returns.

    ``show`` prints it in words; ``plain`` makes of it what JSON can hold.
    """
    options, as_json = _parse(name, kind, given)
    found = recipe(options)
    finds(without_nan(plain(found)))
    if as_json:
        print_json(plain(found))
    else:
        show(options, found)
    return 0


def _parse(name: str, kind: type[T], given: list[str]) -> tuple[T, bool]:
    """The recipe's options, and whether JSON is asked for."""
    both = types.new_class("Options", (Printed, kind), exec_body=lambda body: body.update(__doc__=kind.__doc__))
    options: Any = parse(name, dataclass(frozen=True, kw_only=True)(both), given)
    return kind(**{f.name: getattr(options, f.name) for f in fields(kind)}), options.json  # type: ignore[arg-type]
