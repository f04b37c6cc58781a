"""Code with known bugs, or clean: the rows, JSON Lines, that critics learn from and are measured on.

A row needs ``id``, ``code`` and ``bug_lines``, numbers from 1; an empty ``bug_lines`` is clean code. Rows of
``custodes critic tamper`` also say how each bug was made and proved, and in ``split`` what they are for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from custodes.critic.families import KnownBug
from custodes.files import written_whole
from custodes.types import InputError

TRAIN = "train"
Verified = Literal["test", "operator", "clean", "given"]


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: ``lines`` of the code where it can be seen, what it does, and what stood there."""

    operator: str
    lines: tuple[int, ...]
    description: str
    original: str  # the lines as they were


@dataclass(frozen=True, slots=True)
class BugExample:
    """A function, or an assistant's answer, with its bugs.

    ``verified`` is "test" where a covering test (``unit``) passes without the bugs and fails with them, saying
    ``message``. It is "operator" where the function has no test, but the operator changes behaviour nearly always. It is
    "clean" without a bug, and "given" for a person's own row that says no more.
    """

    id: str
    code: str
    bug_lines: tuple[int, ...]
    description: str
    bugs: tuple[Bug, ...]
    verified: Verified
    split: str
    function: str  # its id in the corpus: versions of one function are measured as a cluster
    package: str = ""
    path: str = ""
    qualname: str = ""
    licence: str = ""
    unit: str = ""
    message: str = ""
    question: str = ""
    """What was asked, where that is known."""
    kind: Literal["code", "answer"] = "code"
    """Of an "answer" ``code`` holds an assistant's text; its bugs are what is wrong with it."""
    fixed: str = ""
    """The code without its bugs, where the row has it: by running it, findings with evidence are rated."""

    @property
    def known_bug(self) -> KnownBug:
        """What a scorer of lines learns from."""
        operators = {line: bug.operator for bug in self.bugs for line in bug.lines}
        kinds = tuple(operators.get(line, "") for line in self.bug_lines) if any(operators.values()) else ()
        return KnownBug(self.code, self.bug_lines, kinds, self.function)

    @property
    def operators(self) -> tuple[str, ...]:
        """Those that made the bugs; empty where that is not known."""
        return tuple(bug.operator for bug in self.bugs if bug.operator)


@dataclass(frozen=True, kw_only=True)
class BugRows:
    """Which rows a command reads."""

    data: Path
    """Rows of code with known bugs, JSON Lines: what `custodes critic tamper` makes, or your own with id, code and bug_lines.
    Clean code has an empty bug_lines. To be written about, a bug also needs a description."""


def bugs_from(rows: Any) -> tuple[Bug, ...]:
    """The bugs of a row, or of a task's metadata; none where these are no list of objects with ``lines``."""
    if not isinstance(rows, list | tuple) or not all(isinstance(b, dict) and "lines" in b for b in rows):
        return ()
    texts = ("description", "original")
    return tuple(
        Bug(str(b.get("operator") or ""), tuple(b["lines"]), *(str(b.get(t) or "") for t in texts)) for b in rows
    )


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses, one a line. The file appears when it is whole.

    A text may hold half of a surrogate pair, which UTF-8 has no bytes for; it is written as JSON's escape.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        lines = (f"{json.dumps(asdict(row), ensure_ascii=False)}\n" for row in rows)
        file.writelines(line.encode("utf-8", "backslashreplace") for line in lines)


def read_bug_examples(path: Path, described: bool = False) -> list[BugExample]:
    """The rows of a file; where they must be ``described``, every bug needs a description.

    Raises InputError that names the line for one that cannot be used, and for a file without rows.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{path} cannot be read ({reason}); custodes critic tamper makes such a file.") from None
    rows = [_read(line, f"{path}, line {n}", described) for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path} is empty; give JSON Lines with id, code and bug_lines.")
    return rows


def _read(line: str, where: str, described: bool) -> BugExample:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON ({error.msg}).") from None
    if not isinstance(row, dict) or not isinstance(row.get("code"), str):
        raise InputError(f'{where} has no text in "code".')
    lines, count = row.get("bug_lines"), row["code"].count("\n") + 1
    if not isinstance(lines, list) or not all(isinstance(n, int) and 1 <= n <= count for n in lines):
        known = f"give a list of numbers from 1 to {count}, empty for clean code"
        raise InputError(f'{where}: "bug_lines" is {lines!r}; {known}.')
    if described and lines and not isinstance(row.get("description"), str):
        raise InputError(f'{where}: no example to learn words from; its bug needs a text in "description".')
    return example_from(row, where)


def example_from(row: dict[str, Any], where: str = "") -> BugExample:
    """A row as an example; ``where`` is the id of one that has none."""
    lines, id = tuple(row["bug_lines"]), str(row.get("id", where))
    bugs = bugs_from(row.get("bugs"))
    if not bugs and lines:  # a person's own row
        bugs = (Bug("", lines, str(row.get("description") or ""), ""),)
    texts = ("package", "path", "qualname", "licence", "unit", "message", "question", "fixed")
    return BugExample(
        id=id,
        code=row["code"],
        bug_lines=lines,
        description=str(row.get("description") or ""),
        bugs=bugs,
        verified=row.get("verified", "given"),
        split=str(row.get("split", TRAIN)),
        function=str(row.get("function", id)),
        kind="answer" if row.get("kind") == "answer" else "code",
        **{name: str(row.get(name) or "") for name in texts},
    )
