"""``@command``: a function that the command line calls.

The function's name says the words: ``gaming_compare`` is ``custodes gaming compare``. Its first parameter is a dataclass
of options, and the first line of its docstring is what ``custodes --help`` says of it. The file bears the command's name
and stands in ``loop/`` or in a guest's ``jobs/``; it is imported only when the command is called.

What the function returns is printed: in words by the function under :func:`in_words`, else as ``str`` writes it; with
``--json`` as JSON. A result with an ``exit_code`` decides with which code the command ends.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class _Printed:
    """How a result is printed, which is no option of the work: the same work is the same work either way."""

    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True, kw_only=True)
class _Tracked:
    """Who is told of steps beside the ledger, which is no option of the work either."""

    track: Literal["none", "wandb", "tensorboard", "trackio"] = "none"
    """Where the numbers of every step go too, beside the ledger."""


@dataclass(slots=True, kw_only=True)
class Command:
    """A decorator that makes a function a command, and then the command as its file declares it.

    Args:
        resumes: called again, it goes on where it was interrupted.
        prints: it has a result to print, and therefore ``--json``; servers have none.
        recorded: it is a run of a ledger. What changes nothing is none, and a server keeps a ledger of its own.
        steps: it trains into the folder ``out``, and therefore has ``--track``.
    """

    resumes: bool = False
    prints: bool = True
    recorded: bool = True
    steps: bool = False
    function: Callable[[Any], Any] = field(init=False)
    options: type = field(init=False)
    """The dataclass of the work's options: the type of the function's first parameter."""
    flags: type = field(init=False)
    """The dataclass that a command line fills: the options, and how the result is printed and tracked."""
    show: Callable[[Any, Any], None] = field(init=False)

    def __call__(self, function: F) -> F:
        hint = next(iter(inspect.signature(function).parameters.values())).annotation
        self.function, self.show = function, lambda options, result: print(result)
        self.options = kind = function.__globals__[hint] if isinstance(hint, str) else hint
        beside = (*([_Tracked] if self.steps else []), *([_Printed] if self.prints else []))
        both = types.new_class("Options", (*beside, kind), exec_body=lambda body: body.update(__doc__=kind.__doc__))
        self.flags = dataclass(frozen=True, kw_only=True)(both) if beside else kind
        DECLARED[function.__name__] = self
        return function


command = Command
DECLARED: dict[str, Command] = {}
"""What the files that were imported declare, by the name of the function."""


def in_words(function: Callable[..., Any]) -> Callable[[F], F]:
    """Declare what prints the result of a command for people; it is called with the options and the result."""

    def declare(show: F) -> F:
        DECLARED[function.__name__].show = show
        return show

    return declare
