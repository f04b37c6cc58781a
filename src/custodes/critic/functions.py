"""The functions of a Python file: where they stand, and their text by itself."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

Definition = ast.FunctionDef | ast.AsyncFunctionDef
SHORTEST, LONGEST = 2, 100  # lines of the body without its docstring; lines of the whole


@dataclass(frozen=True, slots=True)
class SourceFunction:
    """A function or method. ``start`` and ``end`` are lines of its file, from 1; ``start`` is its first decorator's.

    ``code`` stands at the left margin, however deep the function stood, and keeps layout and comments; lines of strings
    that are no docstring stay as they were.
    """

    qualname: str
    start: int
    end: int
    code: str


def functions_of(text: str, shortest: int = SHORTEST) -> list[SourceFunction]:
    """Functions at the top of a module and methods of its classes, as far as they hold something to review.

    Functions inside functions are part of those. Left out: stubs, fewer than ``shortest`` lines of body, more than a
    hundred lines. Raises SyntaxError (or ValueError, for NUL) where the text is not Python.
    """
    tree = ast.parse(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = []
    for qualname, node in definitions_of(tree):
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        end = node.end_lineno or node.lineno
        if end - start < LONGEST and _says_something(node, shortest):
            found.append(SourceFunction(qualname, start, end, _dedented(lines[start - 1 : end])))
    return found


def definitions_of(tree: ast.AST, above: str = "") -> Iterator[tuple[str, Definition]]:
    """(qualified name, definition) of functions at the top of a module and of methods of its classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield f"{above}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from definitions_of(node, f"{above}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from definitions_of(node, above)


def _says_something(node: Definition, shortest: int) -> bool:
    body = node.body[1:] if is_text(node.body[0]) else node.body
    if not body or (body[-1].end_lineno or 0) - body[0].lineno + 1 < shortest:
        return False
    return not all(isinstance(s, ast.Pass | ast.Raise | ast.Global | ast.Import | ast.ImportFrom) for s in body)


def _dedented(lines: list[str]) -> str:
    """Lines moved to the left margin, except those inside strings that are no docstring."""
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    if not margin:
        return "\n".join(lines) + "\n"
    fixed = _inside_strings("\n".join(lines))
    moved = (line if n in fixed else line.removeprefix(margin) for n, line in enumerate(lines, 1))
    return "\n".join(moved) + "\n"


def moved_back(code: str, margin: str) -> list[str]:
    """The lines of a :class:`SourceFunction`'s code, moved back to where it stood; lines of strings stay as they are."""
    lines = code.rstrip("\n").split("\n")
    if not margin:
        return lines
    fixed = _inside_strings("\n".join(f"{margin}{line}" for line in lines))
    return [line if n in fixed or not line else f"{margin}{line}" for n, line in enumerate(lines, 1)]


def _inside_strings(text: str) -> set[int]:
    """Lines that begin inside a string, docstrings excepted."""
    whole = f"if 1:\n{text}\n"
    documented = {(s.lineno, s.col_offset) for s in ast.walk(ast.parse(whole)) if is_text(s)}
    inside: set[int] = set()
    opened: list[int] = []  # lines on which f-strings begin, which newer Pythons read as several tokens
    for token in tokenize.generate_tokens(io.StringIO(whole).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            opened.append(token.start[0])
        first = opened.pop() if kind == "FSTRING_END" else token.start[0]
        if kind in ("STRING", "FSTRING_END") and token.start not in documented:
            inside |= set(range(first, token.end[0]))  # one less than in ``whole``: the line after the first, and on
    return inside


def is_text(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether a statement is a text alone, as a docstring is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
