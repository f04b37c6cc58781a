"""A function with all that is known of it, what a promise of it is, and how calls are written down."""

from __future__ import annotations

import ast
import asyncio
import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import calls
import values
from inputs import Call


class NoInstance(BaseException):
    """The constructor did not take the arguments that were made up: that says nothing of the method."""


@dataclass
class Instance:
    """An object on which a method is called: its class, by the name that code has for it, and its constructor's call."""

    kind: type
    name: str
    call: Call

    def make(self) -> Any:
        args, kwargs = copy.deepcopy(self.call)
        try:
            return self.kind(*args, **kwargs)
        except Exception as error:
            raise NoInstance(str(error)) from None


class Invoker:
    """Calls a function with copies of the arguments; ``given`` are those copies as the call has left them."""

    def __init__(self, function: Callable[..., Any], watch: calls.Watch, file: str) -> None:
        self.function, self.watch, self.file = function, watch, file
        self.given: Call = ((), {})
        self.seconds = calls.SECONDS

    def __call__(self, call: Call, function: Callable[..., Any] | None = None) -> calls.Outcome:
        self.given = copy.deepcopy(call)
        body = function or self.function
        return calls.attempt(
            lambda: settled(body(*self.given[0], **self.given[1])), self.watch, self.file, self.seconds
        )


def settled(value: Any) -> Any:
    """What a coroutine comes to, and the items of an iterator: looking at them is part of the call and happens once."""
    if inspect.iscoroutine(value):
        value = asyncio.run(value)
    return values.listed(value) if values.is_iterator(value) else value


@dataclass
class Subject:
    """A function with all that is known of it. ``invoke`` calls it with copies of the arguments."""

    name: str
    doc: str
    source: str
    signature: inspect.Signature
    hints: dict[str, Any]
    invoke: Invoker
    first: int  # line of the file on which the source begins
    called: str = ""  # what stands before the brackets in a call
    method: bool = False
    instances: bool = False  # the first of a call's arguments is the object
    attribute: bool = False  # it is read, and not called
    awaited: bool = False  # it is a coroutine
    changed: bool = False  # decorators that may change what it takes or gives
    effects: bool = False  # it, or what it calls in its file, has effects or reads what changes
    bound: set[str] = field(default_factory=set)  # names that its file binds anywhere
    documented: list[tuple[Call, Any]] = field(default_factory=list)
    neighbours: dict[str, Any] = field(default_factory=dict)  # functions of its module or class, by name

    def written(self, call: Call, instead: dict[int, str] | None = None) -> str:
        """The call as code (:func:`written_call`)."""
        text = written_call(self.called, call, instead)
        text = text[: -len("()")] if self.attribute else text
        return f"asyncio.run({text})" if text and self.awaited else text

    @property
    def required(self) -> list[str]:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [p.name for p in self.signature.parameters.values() if p.default is p.empty and p.kind in kinds]


@dataclass
class Broken:
    """What came, what was promised, and the lines of a test, in which CALL stands for the call."""

    came: str
    promised: str
    lines: list[str]
    line: int = 0  # of the file, where an exception was raised
    confidence: float = 0.0  # in place of the promise's, where it is not 0


@dataclass
class Promise:
    """``by`` says who promises. ``kept_by`` says whether an example (call, value) agrees with it.

    ``sometimes``: it counts only where some input keeps it, since a name alone may mean something else.
    """

    name: str
    by: str
    confidence: float
    check: Callable[[Call], Broken | None]
    kept_by: Callable[[Call, Any], bool] = lambda call, value: True
    sometimes: bool = False


def told(outcome: calls.Outcome) -> str:
    """What came of a call, on one line."""
    if outcome.end == "slow":
        return f"no end within {calls.SECONDS:g} s"
    if outcome.end:
        return f"it {outcome.end}"
    if outcome.error is not None:
        text = " ".join(str(outcome.error).split())
        return f"{type(outcome.error).__name__}{f': {text}' if text else ''}"[: values.LONGEST]
    return values.shown(outcome.value)


def written_call(name: str, call: Call, instead: dict[int, str] | None = None) -> str:
    """The call as code; "" where an argument cannot be written down. ``instead`` has code for some arguments."""
    if call[0] and isinstance(call[0][0], Instance):
        made = written_call(call[0][0].name, call[0][0].call)
        shifted = {i - 1: code for i, code in (instead or {}).items()}
        return made and written_call(f"{made}.{name}", (call[0][1:], call[1]), shifted)
    parts = [(instead or {}).get(i) or values.source_of(a) for i, a in enumerate(call[0])]
    named_parts = [(k, values.source_of(v)) for k, v in call[1].items()]
    if not all(parts) or not all(v for _, v in named_parts):
        return ""
    return f"{name}({', '.join([*parts, *(f'{k}={v}' for k, v in named_parts)])})"


def literal_calls(tree: ast.AST, name: str) -> list[Call]:
    """Arguments of calls of ``name`` that are written as values: in tests, examples and callers."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (
            getattr(node.func, "id", "") == name or getattr(node.func, "attr", "") == name
        ):
            try:
                args = tuple(ast.literal_eval(a) for a in node.args)
                kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
            if len(kwargs) == len(node.keywords):
                found.append((args, kwargs))
    return found


UNKNOWN = object()


def materialised(value: Any) -> Any:
    """A value that two calls can be compared by; UNKNOWN for an object that is only itself."""
    if values.is_iterator(value):
        return values.listed(value)
    try:
        return UNKNOWN if values.ELSEWHERE.search(repr(value)) else copy.deepcopy(value)
    except Exception:
        return UNKNOWN
