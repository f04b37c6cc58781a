"""``@command``: a function that the command line calls.

The function's name says the words: ``gaming_compare`` is ``custodes gaming compare``. Its first parameter is a dataclass
of options, and the first line of its docstring is what ``custodes --help`` says of it. The file bears the command's name
and stands in ``loop/`` or in a guest's ``jobs/``; it is imported only when the command is called.

What the function returns is printed: in words by the function under :func:`in_words`, else as ``str`` writes it; with
``--json`` as JSON. A result with an ``exit_code`` decides with which code the command ends.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Declared:
    """A command, as its file declares it."""

    function: Callable[[Any], Any]
    resumes: bool
    prints: bool
    recorded: bool
    steps: bool
    show: Callable[[Any, Any], None]

    @property
    def options(self) -> type:
        """The dataclass of the command's options: the type of its function's first parameter."""
        parameter = next(iter(inspect.signature(self.function).parameters.values()))
        hint = parameter.annotation
        kind: type = self.function.__globals__[hint] if isinstance(hint, str) else hint
        return kind


DECLARED: dict[str, Declared] = {}
"""What the files that were imported declare, by the name of the function."""


def command(
    *, resumes: bool = False, prints: bool = True, recorded: bool = True, steps: bool = False
) -> Callable[[F], F]:
    """Declare a command.

    Args:
        resumes: called again, it goes on where it was interrupted.
        prints: it has a result to print, and therefore ``--json``; servers have none.
        recorded: it is a run of a ledger. What changes nothing is none, and a server keeps a ledger of its own.
        steps: it trains into the folder ``out``, and therefore has ``--track``.
    """

    def declare(function: F) -> F:
        show = lambda options, result: print(result)  # noqa: E731
        DECLARED[function.__name__] = Declared(function, resumes, prints, recorded, steps, show)
        return function

    return declare


def in_words(function: Callable[..., Any]) -> Callable[[F], F]:
    """Declare what prints the result of a command for people; it is called with the options and the result."""

    def declare(show: F) -> F:
        DECLARED[function.__name__].show = show
        return show

    return declare
