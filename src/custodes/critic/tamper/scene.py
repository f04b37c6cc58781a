"""A function as operators see it: its syntax tree with positions, parents and scopes, and how to change its text.

Operators read the tree and splice the text, so that layout and comments stay as they were.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.metadata import FunctionScope, MetadataWrapper, ParentNodeProvider, PositionProvider, ScopeProvider

from custodes.types import InputError


@dataclass(frozen=True, slots=True)
class Edit:
    """``code[start:end]`` becomes ``text``; ``description`` says in a reviewer's words what that does."""

    operator: str
    start: int
    end: int
    text: str
    description: str

    def apply(self, code: str) -> str:
        return code[: self.start] + self.text + code[self.end :]


@dataclass(frozen=True, slots=True)
class Operator:
    """A kind of bug. ``make`` yields (start, end, text, description) for a node of one of ``nodes``."""

    name: str
    nodes: tuple[type[cst.CSTNode], ...]
    make: Callable[[cst.CSTNode, Scene], Iterator[Splice]]


Splice = tuple[int, int, str, str]
OPERATORS: dict[str, Operator] = {}


def operator(*nodes: type[cst.CSTNode]) -> Callable[[Callable[..., Iterator[Splice]]], Callable[..., Iterator[Splice]]]:
    """Register a function as the operator of its name. Its docstring says which bug it makes."""

    def register(make: Callable[..., Iterator[Splice]]) -> Callable[..., Iterator[Splice]]:
        OPERATORS[make.__name__] = Operator(make.__name__, nodes, make)
        return make

    return register


class Scene:
    """One function, parsed. Raises InputError where ``code`` is not a single function that libcst can read."""

    def __init__(self, code: str) -> None:
        try:
            wrapper = MetadataWrapper(cst.parse_module(code), unsafe_skip_copy=True)
        except (cst.ParserSyntaxError, RecursionError):
            raise InputError("the code is not Python that can be read.") from None
        body = wrapper.module.body
        if len(body) != 1 or not isinstance(body[0], cst.FunctionDef):
            raise InputError(f"the code holds {len(body)} statements; one function was expected.")
        self.code, self.function = code, body[0]
        self._positions = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._scopes = wrapper.resolve(ScopeProvider)
        self._starts = [0]
        for line in code.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Characters of a node, without its own parentheses."""
        start, end = self._positions[node].start, self._positions[node].end
        return self._starts[start.line - 1] + start.column, self._starts[end.line - 1] + end.column

    def text(self, node: cst.CSTNode) -> str:
        start, end = self.span(node)
        return self.code[start:end]

    def short(self, node: cst.CSTNode) -> str:
        """The node's text for a description: on one line, in back quotes, at most 60 characters."""
        text = " ".join(self.text(node).split()).replace("`", "'")
        return f"`{text if len(text) <= 60 else text[:57] + '...'}`"

    def line_of(self, offset: int) -> int:
        """Line, from 1, of a character."""
        return bisect.bisect_right(self._starts, offset)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        return self._parents[node]

    def above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What the node lies in, from the inside out, up to the function."""
        while node is not self.function:
            node = self._parents[node]
            yield node

    def swap(self, node: cst.CSTNode, text: str, description: str) -> Splice:
        return (*self.span(node), text, description)

    def partner(self, node: cst.CSTNode, others: Mapping[str, str], description: str) -> Iterator[Splice]:
        """Swap a node for the text that ``others`` has in its place; ``$old`` and ``$new`` stand for both."""
        old = " ".join(self.text(node).split())
        if new := others.get(old):
            yield self.swap(node, new, description.replace("$old", old).replace("$new", new))

    def change_places(self, first: cst.CSTNode, second: cst.CSTNode, description: str) -> Iterator[Splice]:
        """Two nodes that differ and stand without parentheses of their own change places; what lies between stays."""
        (start, before), (after, end) = self.span(first), self.span(second)
        one, other = self.text(first), self.text(second)
        if one != other and not getattr(first, "lpar", ()) and not getattr(second, "lpar", ()):
            yield start, end, other + self.code[before:after] + one, description

    def drop(self, statement: cst.CSTNode, description: str) -> Iterator[Splice]:
        """Remove the lines of a statement, where its block has another."""
        block = self.parent(statement)
        if isinstance(block, cst.IndentedBlock) and len(block.body) > 1:
            yield *self._lines(statement), "", description

    def insert_after(self, statement: cst.CSTNode, line: str, description: str) -> Splice:
        """A new line below a statement, as deep as it."""
        first, below = self._lines(statement)
        return below, below, f"{self.code[first : self.span(statement)[0]]}{line}\n", description

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """Characters of the whole lines of a node."""
        start, end = self.span(node)
        return self._starts[self.line_of(start) - 1], self._starts[min(self.line_of(end - 1), len(self._starts) - 1)]

    def bound_before(self, node: cst.CSTNode) -> list[str]:
        """Names of the function that have a value where ``node`` stands: parameters, and what was assigned above."""
        scope = self._scopes.get(node)
        if not isinstance(scope, FunctionScope):
            return []
        at, names = self.span(node)[0], []
        statement = next(n for n in self.above(node) if isinstance(n, cst.BaseStatement | cst.FunctionDef))
        begins = self.span(statement)[0] if statement is not self.function else at
        for assignment in scope.assignments:
            target = getattr(assignment, "node", None)
            if target is None or isinstance(target, cst.FunctionDef | cst.ClassDef | cst.Import | cst.ImportFrom):
                continue
            if isinstance(target, cst.Param) or self.span(target)[1] <= min(begins, at) or self._heads(target, node):
                names.append(assignment.name)
        return sorted({name for name in names if name not in ("self", "cls") and not name.startswith("_")})

    def _heads(self, target: cst.CSTNode, node: cst.CSTNode) -> bool:
        """Whether ``target`` is the variable of a loop or block that ``node`` lies in the body of."""
        around = set(self.above(node))
        for outer in self.above(target):
            if isinstance(outer, cst.For | cst.With):
                return outer in around and outer.body in around
        return False

    @cached_property
    def attributes(self) -> list[str]:
        """Names of attributes of ``self`` that the function reads or sets, methods that it calls left out."""
        found = set()
        for node in walk(self.function):
            if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
                parent = self.parent(node)
                if not (isinstance(parent, cst.Call) and parent.func is node):
                    found.add(node.attr.value)
        return sorted(found)

    @cached_property
    def reviewed(self) -> list[cst.CSTNode]:
        """Nodes of the body without the docstring, and of the parameters; no annotations."""
        nodes = list(walk(self.function.params))
        body = self.function.body.body
        first = body[0] if body else None
        documented = (
            isinstance(first, cst.SimpleStatementLine)
            and isinstance(first.body[0], cst.Expr)
            and isinstance(first.body[0].value, cst.SimpleString | cst.ConcatenatedString)
        )
        for statement in body[1:] if documented else body:
            nodes += walk(statement)
        return nodes


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A node and all below it, in the order of the text, annotations left out."""
    yield node
    for child in node.children:
        if not isinstance(child, cst.Annotation):
            yield from walk(child)


def edits(scene: Scene, operators: Sequence[Operator]) -> Iterator[Edit]:
    """Every change that the operators can make to the function."""
    by_node: dict[type[cst.CSTNode], list[Operator]] = {}
    for chosen in operators:
        for kind in chosen.nodes:
            by_node.setdefault(kind, []).append(chosen)
    for node in scene.reviewed:
        for chosen in by_node.get(type(node), ()):
            for start, end, text, description in chosen.make(node, scene):
                yield Edit(chosen.name, start, end, text, description)
