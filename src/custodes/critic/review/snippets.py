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
from itertools import pairwise
from pathlib import Path
from typing import Literal

from custodes.types import InputError

LONGEST = 60  # lines of one snippet
SKIPPED = {"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"}
IGNORE = re.compile(r"#\s*custodes:\s*ignore\b(?:\s*\[([^\]]*)\])?", re.IGNORECASE)
EVERY = "every kind"
SUFFIXES = (".py", ".ipynb")
CLASS = re.compile(r"class\s+(\w+)")
COLON = re.compile(r":\s*(?:#.*)?$")
DEEPEST = 50  # classes in each other
JOINED = 6  # neighbouring blocks that are read as one, as where a string holds a line that looks like code
MARKS = (  # those of UTF-32 first: one of them begins with one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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
    """Files as they were named; of folders, Python files and notebooks below that are not hidden and nobody else's.

    Raises InputError for a path that is not there.
    """
    for name in paths:
        path = Path(name)
        if path.is_dir():
            every = (found for found in sorted(path.rglob("*")) if found.suffix in SUFFIXES and found.is_file())
            yield from (found for found in every if is_ours(found.relative_to(path)))
        elif path.exists():
            yield path
        else:
            raise InputError(f"there is no file or folder {name!r} to review.")


def is_ours(path: Path) -> bool:
    """Whether no folder in a relative path is hidden or made by others."""
    return not any(part in SKIPPED or part.startswith(".") for part in path.parts[:-1])


def lines_of(text: str) -> list[str]:
    """Lines as Python counts them: a form feed, or what Unicode calls a separator, ends none."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_text(path: str) -> tuple[str, Problem | None]:
    """A file's text, "-" for standard input, in the encoding that it declares; or why it cannot be read."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        return "", Problem(path, 0, f"cannot be read ({error.strerror})")
    try:
        marked = next((name for mark, name in MARKS if data.startswith(mark)), None)
        text = data.decode(marked or tokenize.detect_encoding(io.BytesIO(data).readline)[0])
    except (SyntaxError, LookupError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, SyntaxError) else "it is not UTF-8 and declares no other encoding"
        return "", Problem(path, 0, f"cannot be decoded: {reason}")
    if "\0" in text and not marked:
        return "", Problem(path, 0, "is no text: it holds the character NUL")
    return text, None


def snippets_of(file: str, text: str) -> tuple[list[Snippet], list[Problem]]:
    """The file in pieces. What does not parse is named, and the rest is reviewed; an indented excerpt is code too."""
    if not text.strip():
        return [], []
    lines = lines_of(text.rstrip())
    parts = list(_parts(lines))
    snippets = [s for part in parts if isinstance(part.tree, ast.Module) for s in _pieces(file, part, part.tree)]
    problems = [_problem(file, part, part.tree) for part in parts if isinstance(part.tree, SyntaxError)]
    if not problems and not any(part.lines is lines for part in parts[-1:]):
        problems = [Problem(file, 0, "does not parse as a whole; its parts were reviewed")]
    return snippets, problems


def ignored_lines(text: str) -> dict[int, set[str]]:
    """Lines with a comment ``# custodes: ignore`` or ``# custodes: ignore[KIND, KIND]`` -> the kinds, or :data:`EVERY`.

    One on a ``def``, a ``class`` or their decorators stands for the whole of it.
    """
    found: dict[int, set[str]] = {}
    for part in _parts(lines_of(text)) if IGNORE.search(text) else ():
        marked = _marked(_at_margin(part.lines))
        silent = {line: set(kinds) for line, kinds in marked.items()}
        for node in ast.walk(part.tree) if isinstance(part.tree, ast.Module) and marked else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                start, body = _start(node), max(_start(node.body[0]), node.lineno + 1)
                kinds = {kind for line in range(start, body) for kind in marked.get(line, ())}
                for line in range(start, (node.end_lineno or node.lineno) + 1) if kinds else ():
                    silent.setdefault(line, set()).update(kinds)
        found |= {number + part.shift: kinds for number, kinds in silent.items()}
    return found


def plain_kind(kind: str) -> str:
    """The name of a kind of finding, as it may be written in a comment."""
    return kind.strip().lower().replace("_", "-").replace(" ", "-")


def parsed_python(lines: Sequence[str]) -> ast.Module | SyntaxError:
    """The tree of some lines, or the error of what is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of the reviewed code, not ours
        try:
            return ast.parse("\n".join(lines))
        except (RecursionError, MemoryError):
            return SyntaxError("it nests too deeply")
        except SyntaxError as error:
            return error
        except ValueError as error:
            return SyntaxError(str(error))


def _marked(lines: list[str]) -> dict[int, set[str]]:
    """Lines with the comment, and its kinds; from where Python cannot read the text on, lines that look like it."""
    found, at = dict[int, set[str]](), 0
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            at = token.end[0]
            if token.type == tokenize.COMMENT and (match := IGNORE.search(token.string)):
                found[token.start[0]] = _kinds(match)
    except (SyntaxError, tokenize.TokenError):
        later = ((number, IGNORE.search(line)) for number, line in enumerate(lines, 1) if number > at)
        found |= {number: _kinds(match) for number, match in later if match}
    return found


def _kinds(match: re.Match[str]) -> set[str]:
    return {plain_kind(kind) for kind in (match[1] or "").split(",") if kind.strip()} or {EVERY}


@dataclass(frozen=True, slots=True)
class _Part:
    """Neighbouring lines that are read as one; ``tree``, or the error in its place, counts from the first of them."""

    lines: list[str]
    shift: int  # lines of the file before it
    within: str  # "Box." in the body of a class
    tree: ast.Module | SyntaxError


def _parts(lines: list[str], shift: int = 0, within: str = "", depth: int = 0) -> Iterator[_Part]:
    """The whole where it parses; else blocks that begin at the left margin, each by itself, and so inside classes."""
    bare = _at_margin(lines)
    tree, starts = parsed_python(bare), _starts(bare)
    named = next(((n, m[1]) for n, line in enumerate(bare) if (m := CLASS.match(line))), None)
    if isinstance(tree, ast.Module) or depth == DEEPEST or (len(starts) == 1 and named is None):
        yield _Part(lines, shift, within, tree)
    elif len(starts) > 1:
        blocks = list(zip([s - 1 for s in starts], [*(s - 1 for s in starts[1:]), len(lines)], strict=True))
        while blocks:
            start = blocks[0][0]
            trees = ((count, parsed_python(bare[start:end])) for count, (_, end) in enumerate(blocks[:JOINED], 1))
            count = next((count for count, found in trees if isinstance(found, ast.Module)), 1)
            yield from _parts(lines[start : blocks[count - 1][1]], start + shift, within, depth + 1)
            del blocks[:count]
    elif named is not None:
        head = next((n for n, line in enumerate(bare, 1) if n > named[0] and COLON.search(line)), named[0] + 1)
        header = parsed_python([*bare[:head], " pass"])
        if isinstance(header, SyntaxError):
            yield _Part(lines[:head], shift, within, header)
        if any(line.strip() for line in lines[head:]):
            yield from _parts(lines[head:], shift + head, f"{within}{named[1]}.", depth + 1)


def _at_margin(lines: list[str]) -> list[str]:
    """Without the indentation that all lines of code share, or the first has where a string goes back to the margin."""
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    indents = [line[: _depth(line)] for line in code]
    margin = min(indents, key=len, default="") or next(iter(indents), "")
    return [line.removeprefix(margin) for line in lines] if margin else lines


def _starts(bare: list[str]) -> list[int]:
    """Numbers of the lines that begin a block; a decorator and what follows it are one."""
    begin = [n for n, line in enumerate(bare, 1) if BEGINS.match(line)]
    later = [n for before, n in pairwise(begin) if not bare[before - 1].startswith("@")]
    return [1, *(n for n in [*begin[:1], *later] if n > 1)]


def _problem(file: str, part: _Part, error: SyntaxError) -> Problem:
    filled = [n + part.shift for n, line in enumerate(part.lines, 1) if line.strip()] or [part.shift + 1]
    first, last = filled[0], filled[-1]
    line = min(part.shift + error.lineno, last) if error.lineno else first
    if first == last:
        return Problem(file, line, f"line {first} does not parse ({error.msg}) and was not reviewed")
    return Problem(file, line, f"lines {first} to {last} do not parse ({error.msg}) and were not reviewed")


def _pieces(file: str, part: _Part, tree: ast.Module) -> Iterator[Snippet]:
    """Functions and methods one by one, and what lies between them."""
    at, last = 1, len(part.lines)
    for name, start, end in [*_functions(tree, part.within), ("", last + 1, last)]:
        yield from _cut(file, part.lines, at, start - 1, "module", part.shift)
        yield from _cut(file, part.lines, start, end, name, part.shift)
        at = max(at, end + 1)


def _functions(tree: ast.AST, above: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{above}{node.name}", _start(node), node.end_lineno or node.lineno
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{above}{node.name}.")


def _start(node: ast.stmt) -> int:
    """The line of the first decorator, else its own."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


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
