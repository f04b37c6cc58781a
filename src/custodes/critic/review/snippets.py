"""What is reviewed: files cut into functions and stretches of module code, however broken or long they are."""

from __future__ import annotations

import ast
import codecs
import hashlib
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from custodes.types import InputError

LONGEST = 60  # lines of one snippet
SKIPPED = {"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"}
IGNORE = re.compile(r"#\s*custodes:\s*ignore\b", re.IGNORECASE)
BEGINS = re.compile(r"(?:async\s+def|def|class|@|if|for|while|with|try|import|from|[A-Za-z_]\w*\s*[=(\[.:])")


@dataclass(frozen=True, slots=True)
class Snippet:
    """Some lines of a file, as they stand there; ``first`` is the number of the first, from 1.

    An assistant's answer is one too, its text in ``code``. ``question`` is what was asked, where that is known.
    """

    file: str
    first: int
    code: str
    name: str
    question: str = ""
    kind: Literal["code", "answer"] = "code"

    @property
    def last(self) -> int:
        return self.first + self.code.count("\n")

    @property
    def key(self) -> str:
        """Names what the critic sees, wherever it stands."""
        shown = self.code if self.kind == "code" and not self.question else f"{self.kind}\0{self.question}\0{self.code}"
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be reviewed."""

    file: str
    line: int  # 0 where it is the whole file
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.message}"


def find_files(paths: Sequence[str]) -> Iterator[Path]:
    """Files as they were named; of folders, the Python files below that are not hidden and nobody else's.

    Raises InputError for a path that is not there.
    """
    for name in paths:
        path = Path(name)
        if path.is_dir():
            for found in sorted(path.rglob("*.py")):
                inside = found.relative_to(path).parts
                if not any(part in SKIPPED or part.startswith(".") for part in inside[:-1]):
                    yield found
        elif path.exists():
            yield path
        else:
            raise InputError(f"there is no file or folder {name!r} to review.")


def read_text(path: str) -> tuple[str, Problem | None]:
    """A file's text, "-" for standard input, in the encoding that it declares; or why it cannot be read."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        return "", Problem(path, 0, f"cannot be read ({error.strerror})")
    try:
        for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
            if data.startswith(mark):
                return data.decode(name), None
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, LookupError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, SyntaxError) else "it is not UTF-8 and declares no other encoding"
        return "", Problem(path, 0, f"cannot be decoded: {reason}")
    if "\0" in text:
        return "", Problem(path, 0, "is no text: it holds the character NUL")
    return text, None


def snippets_of(file: str, text: str) -> tuple[list[Snippet], list[Problem]]:
    """The file in pieces. What does not parse is named, and the rest is reviewed."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    if not text.strip():
        return [], []
    try:
        return list(_pieces(file, lines, 0, _parsed("\n".join(lines)))), []
    except (SyntaxError, ValueError, RecursionError):
        return _of_broken(file, lines)


def ignored_lines(text: str) -> set[int]:
    """Lines with a comment ``# custodes: ignore``; one on a ``def`` stands for the whole function."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    marked = {number for number, line in enumerate(lines, 1) if IGNORE.search(line)}
    found = set(marked)
    if marked:
        try:
            tree = _parsed("\n".join(lines))
        except (SyntaxError, ValueError, RecursionError):
            return found
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        for node in (n for n in ast.walk(tree) if isinstance(n, kinds)):
            if marked & set(range(node.lineno, node.body[0].lineno)):
                found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of the reviewed code, not ours
        return ast.parse(text)


def _pieces(file: str, lines: list[str], shift: int, tree: ast.Module) -> Iterator[Snippet]:
    """Functions and methods one by one, and what lies between them."""
    at = 1
    for name, start, end in [*_functions(tree, ""), ("", len(lines) + 1, len(lines))]:
        yield from _cut(file, lines, at, start - 1, "module", shift)
        yield from _cut(file, lines, start, end, name, shift)
        at = max(at, end + 1)


def _functions(tree: ast.AST, above: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield f"{above}{node.name}", start, node.end_lineno or node.lineno
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{above}{node.name}.")


def _cut(file: str, lines: list[str], start: int, end: int, name: str, shift: int) -> Iterator[Snippet]:
    """Lines ``start`` to ``end`` in pieces of at most :data:`LONGEST`, without the empty ones at the borders."""
    while start <= end:
        last = min(end, start + LONGEST - 1)
        if last < end:  # rather at an empty line, or where the text is least indented
            last = min(range(start + LONGEST // 2, last + 1), key=lambda n: (_depth(lines[n]), -n))
        first, stop = start, last
        while first <= stop and not lines[first - 1].strip():
            first += 1
        while stop >= first and not lines[stop - 1].strip():
            stop -= 1
        chosen = lines[first - 1 : stop]
        if any(line.strip() and not line.strip().startswith("#") for line in chosen):
            yield Snippet(file, first + shift, "\n".join(chosen), name)
        start = last + 1


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0


def _of_broken(file: str, lines: list[str]) -> tuple[list[Snippet], list[Problem]]:
    """Blocks that begin at the left margin, each by itself; neighbours that do not parse are one problem."""
    starts = [1] + [n for n, line in enumerate(lines, 1) if n > 1 and BEGINS.match(line)]
    snippets: list[Snippet] = []
    problems: list[Problem] = []
    for start, end in zip(starts, [*(s - 1 for s in starts[1:]), len(lines)], strict=True):
        while end > start and not lines[end - 1].strip():
            end -= 1
        block = lines[start - 1 : end]
        decorated = block[0].startswith("@") and end < len(lines)
        try:
            snippets += _pieces(file, block, start - 1, _parsed("\n".join(block)))
        except (SyntaxError, ValueError, RecursionError) as error:
            if not decorated:
                line = start - 1 + (getattr(error, "lineno", None) or 1)
                said = getattr(error, "msg", None) or str(error)
                problems.append(
                    Problem(file, line, f"lines {start} to {end} do not parse ({said}) and were not reviewed")
                )
    return snippets, problems or [Problem(file, 0, "does not parse as a whole; its parts were reviewed")]
