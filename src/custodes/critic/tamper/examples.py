"""Examples: code with known bugs, or clean, in a JSON Lines file that training and evaluation read alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from custodes.critic.corpus import Function
from custodes.critic.tamper.bugs import Bug, Tampered
from custodes.files import written_whole
from custodes.types import InputError

HELD_OUT_PACKAGES = frozenset({"boltons", "more-itertools"})
"""Packages that no training example comes from."""
HELD_OUT_SHARE = 0.1  # of the functions of the other packages

Split = Literal["train", "held-out functions", "held-out operators", "held-out packages", "natural"]
Verified = Literal["test", "operator", "clean", "given"]


@dataclass(frozen=True, slots=True)
class Example:
    """``verified``: "test" where a covering test that passed fails with the bugs (``unit``, and what it said); "operator"
    where the function has no test and the operator changes behaviour nearly always; "clean" without a bug; "given" where
    the row is somebody's own and says no more."""

    id: str
    code: str
    bug_lines: tuple[int, ...]
    description: str
    bugs: tuple[Bug, ...]
    verified: Verified
    split: Split
    function: str  # its id in the corpus
    package: str
    path: str
    qualname: str
    licence: str
    unit: str = ""
    message: str = ""


def example(
    f: Function, made: Tampered, verified: Verified, split: Split, unit: str = "", message: str = ""
) -> Example:
    """One row; without bugs it is a clean one."""
    lines = tuple(sorted({line for bug in made.bugs for line in bug.lines}))
    said = "\n".join(bug.description for bug in made.bugs)
    identity = hashlib.sha256(f"{f.id}\n{made.code}".encode()).hexdigest()[:16]
    about = (f.id, f.package, f.path, f.qualname, f.licence)
    return Example(identity, made.code, lines, said, made.bugs, verified, split, *about, unit, message)


def _is_held_out(f: Function) -> bool:
    """Whether a function of a training package is kept for measuring, by the hash of its code."""
    return int(hashlib.sha256(f.code.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT_SHARE


def split_of(f: Function, operators: Iterable[str], held_out_operators: frozenset[str]) -> Split:
    """Where a tampered function belongs. Training functions take no held-out operators: see :func:`allowed`."""
    if f.package in HELD_OUT_PACKAGES:
        return "held-out packages"
    if not _is_held_out(f):
        return "train"
    return "held-out operators" if held_out_operators & set(operators) else "held-out functions"


def allowed(f: Function, operators: Iterable[str], held_out_operators: frozenset[str]) -> list[str]:
    """Operators that may be used on a function: on training functions, none that is held out."""
    training = f.package not in HELD_OUT_PACKAGES and not _is_held_out(f)
    return [name for name in operators if not (training and name in held_out_operators)]


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """One example a line. The file appears when it is whole.

    What a test said may hold half of a surrogate pair, which UTF-8 has no bytes for; escaped, it is JSON.
    """
    with written_whole(path) as file:
        lines = (f"{json.dumps(asdict(e), ensure_ascii=False)}\n" for e in examples)
        file.writelines(line.encode("utf-8", "backslashreplace") for line in lines)


def read_examples(path: Path) -> Iterator[Example]:
    """Raises InputError that names the line for what is no example."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); custodes critic tamper makes such a file."
        ) from None
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield from_row(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise InputError(
                    f"{path}, line {number}: no example; it needs id, code, bug_lines (numbers from 1 to its last line) and, "
                    "where there is a bug, its description."
                ) from None


def from_row(row: dict[str, object]) -> Example:
    if "bugs" not in row:
        return _given(row)
    bugs = tuple(Bug(b["operator"], tuple(b["lines"]), b["description"], b["original"]) for b in row["bugs"])  # type: ignore[attr-defined]
    return Example(**{**row, "bugs": bugs, "bug_lines": tuple(row["bug_lines"])})  # type: ignore[arg-type]


def _given(row: dict[str, Any]) -> Example:
    """Somebody's own row: ``id``, ``code``, ``bug_lines``, ``description``; ``split`` and ``function`` where it has them."""
    id, code, lines, said = (
        str(row["id"]),
        row["code"],
        tuple(row["bug_lines"]),
        row["description"] if row["bug_lines"] else "",
    )
    if not (isinstance(said, str) and all(isinstance(n, int) and 1 <= n <= code.count("\n") + 1 for n in lines)):
        raise ValueError
    bugs = (Bug("", lines, said, ""),) if lines else ()
    about = (str(row.get(name, "")) for name in ("package", "path", "qualname", "licence"))
    return Example(
        id, code, lines, said, bugs, "given", row.get("split", "train"), str(row.get("function", id)), *about
    )
