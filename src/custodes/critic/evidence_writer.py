"""Running as a critic among others: rows' code is run where it stands, and what is found is rated by running, too.

A finding with evidence points out a bug where its test fails with the bug and passes without it. That needs the right version: the row's
own ``fixed``, or of a row that ``custodes critic tamper`` made the function in its package. Rows without one are not run.
"""

from __future__ import annotations

import builtins
import difflib
import symtable
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from custodes.critic.examples import BugExample
from custodes.critic.functions import SourceFunction, functions_of, moved_back
from custodes.critic.policies import ReviewQuestion
from custodes.critic.rating import Rated, RatedFinding
from custodes.critic.review.again import run_tests
from custodes.critic.review.evidence import FunctionRun, runs_in_words
from custodes.critic.review.proposals import Proposer
from custodes.critic.review.remarks import Remark
from custodes.critic.review.running import RunOptions, examine
from custodes.critic.sources import SOURCES, STDLIB, Package, open_package
from custodes.feedback.critique import Finding
from custodes.types import InputError

MODULE = "reviewed.py"
"""The file of a row that stands in no package."""
ELSEWHERE = "it uses names of its module, which is not at hand"
UNKNOWN = "its right version is not known, so that no finding could be judged"


@dataclass(frozen=True, slots=True)
class _Standing:
    """A row's code in its file: ``text`` with it, and ``right`` without its bugs."""

    file: str
    text: str
    right: str
    name: str  # of the function; "" takes what is there
    first: int  # line of the file that is the code's first
    lacking: str = ""  # why it is not run

    def lines(self, code: str) -> set[int]:
        return set(range(self.first, self.first + code.count("\n") + 1))


@dataclass(frozen=True, slots=True)
class FoundByRunning:
    """For each row its findings, rated, each with its score: at a ``strictness`` those are shown whose sum is not negative."""

    findings: tuple[tuple[tuple[float, RatedFinding], ...], ...]
    bugs: tuple[int, ...]
    runs: str
    """How many functions were run, and why the others were not, in words."""

    def at(self, strictness: float = 0.0) -> list[Rated]:
        """What is shown of each row, as a critique."""
        shown = [[f for score, f in own if score + strictness >= 0] for own in self.findings]
        return [Rated.of(own, bugs) for own, bugs in zip(shown, self.bugs, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, for the ledger."""
        rows = [
            [[score, f.finding.quote, f.finding.comment, f.kind, f.bug, f.category] for score, f in own]
            for own in self.findings
        ]
        return {"findings": rows, "bugs": list(self.bugs), "runs": self.runs}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> FoundByRunning:
        """What :meth:`to_dict` told."""
        findings = tuple(
            tuple((score, RatedFinding(Finding(quote, said), *rest)) for score, quote, said, *rest in own)
            for own in told["findings"]
        )
        return cls(findings, tuple(told["bugs"]), told["runs"])


def find_by_running(
    rows: Sequence[BugExample],
    asked: Sequence[ReviewQuestion],
    options: RunOptions,
    proposer: Proposer | None = None,
    cache: Path | None = None,
) -> FoundByRunning:
    """Findings with evidence in each row's code, rated by running.

    Args:
        rows: the code with what is known of it.
        asked: what other critics were asked of it, in the same order.
        options: how functions are run.
        proposer: a model whose samples vote on what functions give.
        cache: a folder in which its answers stay.

    Raises InputError where no sandbox works.
    """
    packages: dict[str, Package | None] = {}
    found: dict[int, tuple[tuple[float, RatedFinding], ...]] = {}
    runs: list[FunctionRun] = []
    with TemporaryDirectory(prefix="custodes-") as folder:
        standing = [_standing(row, n, Path(folder), packages) for n, row in enumerate(rows)]
        runs += [FunctionRun(rows[n].id, "", 1, False, at.lacking) for n, at in enumerate(standing) if at.lacking]
        for group in _apart(standing):
            texts = {standing[n].file: standing[n].text for n in group}
            own = {standing[n].file: standing[n].lines(asked[n].code) for n in group}
            examined = examine(texts, options, own, None, proposer, cache)
            runs += examined.runs
            remarks = {n: _of(standing[n], examined.remarks.get(standing[n].file, [])) for n in group}
            passes = _passing(standing, remarks)
            for n in group:
                found[n] = _rated(remarks[n], standing[n], asked[n], passes[n])
    findings = tuple(found.get(n, ()) for n in range(len(rows)))
    return FoundByRunning(findings, tuple(len(q.bugs) for q in asked), runs_in_words(runs))


def _apart(standing: Sequence[_Standing]) -> Iterator[list[int]]:
    """Numbers of rows that can be run, so that no group holds two versions of a file."""
    left = [n for n, at in enumerate(standing) if not at.lacking]
    while left:
        group: dict[str, int] = {}
        for n in left:
            group.setdefault(standing[n].file, n)
        yield list(group.values())
        left = [n for n in left if n not in set(group.values())]


# ---------------------------------------------------------------- where code stands


def _standing(row: BugExample, n: int, folder: Path, packages: dict[str, Package | None]) -> _Standing:
    """The row's code in its module, else by itself."""
    code = row.code.rstrip("\n") + "\n"
    right = row.fixed and row.fixed.rstrip("\n") + "\n"
    if not row.bug_lines:
        right = code
    source = _source_of(row, folder, packages)
    if source is not None:
        file, text = source
        original = next((f for f in _functions(text) if f.qualname == row.qualname and _same_but_bugs(f, row)), None)
        if original is not None:
            lines = text.split("\n")
            first = lines[original.start - 1]
            own = moved_back(code, first[: len(first) - len(first.lstrip())])
            changed = [*lines[: original.start - 1], *own, *lines[original.end :]]
            return _Standing(str(file), "\n".join(changed), text, row.qualname, original.start)
    file = folder / str(n) / MODULE  # it is not written: a review may be of what an editor holds
    lacking = ELSEWHERE if _free_names(code) else "" if right else UNKNOWN
    return _Standing(str(file), code, right, "", 1, lacking)


def _source_of(row: BugExample, folder: Path, packages: dict[str, Package | None]) -> tuple[Path, str] | None:
    """The file that the row's function is from, and its text; a package is laid out when it is first met."""
    if row.package == STDLIB:
        root = Path(sysconfig.get_paths()["stdlib"])
    elif row.package in SOURCES and row.path:
        root = folder / row.package
        if row.package not in packages:
            try:
                packages[row.package] = open_package(row.package)
            except InputError:  # no package index, and none in the cache: what stands alone is run all the same
                packages[row.package] = None
            package = packages[row.package]
            for path, content in package.files.items() if package else ():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
    else:
        return None
    try:
        return root / row.path, (root / row.path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _free_names(code: str) -> set[str]:
    """Names that code reads and nobody in it defines."""
    try:
        left = [symtable.symtable(code, MODULE, "exec")]
    except (SyntaxError, ValueError):
        return set()
    defined = {s.get_name() for s in left[0].get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    read: set[str] = set()
    while left:
        table = left.pop()
        left += table.get_children()
        module = table.get_type() == "module"
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (module or s.is_global())}
    return read - defined - set(dir(builtins)) - {"__file__"}


def _functions(text: str) -> list[SourceFunction]:
    try:
        return functions_of(text)
    except (SyntaxError, ValueError):
        return []


def _same_but_bugs(function: SourceFunction, row: BugExample) -> bool:
    """Whether the row's code is the function, but for the lines of its bugs and those beside them."""
    ours, code = function.code.rstrip("\n").split("\n"), row.code.rstrip("\n").split("\n")
    near = {line + step for line in row.bug_lines for step in (-1, 0, 1)}
    edits = difflib.SequenceMatcher(None, ours, code, autojunk=False).get_opcodes()
    return all(
        tag == "equal" or set(range(first + 1, max(last, first + 1) + 1)) & near for tag, _, _, first, last in edits
    )


# ---------------------------------------------------------------- what was found


def _of(at: _Standing, remarks: Sequence[tuple[str, Remark]]) -> list[Remark]:
    """Those on the row's function."""
    return [remark for name, remark in remarks if at.name in ("", name)]


def _passing(standing: Sequence[_Standing], found: Mapping[int, list[Remark]]) -> dict[int, list[bool]]:
    """For each row's findings, whether the test passes without the bugs."""
    doubtful = {n: remarks for n, remarks in found.items() if remarks and standing[n].right != standing[n].text}
    texts = {standing[n].file: standing[n].right for n in doubtful}
    tests = {standing[n].file: [r.evidence.test for r in of if r.evidence] for n, of in doubtful.items()}
    came = run_tests(texts, tests) if texts else {}
    return {
        n: [result == "" for result in came[standing[n].file]] if n in doubtful else [False] * len(remarks)
        for n, remarks in found.items()
    }


def _rated(
    remarks: Sequence[Remark], at: _Standing, q: ReviewQuestion, passes: Sequence[bool]
) -> tuple[tuple[float, RatedFinding], ...]:
    """Each remark with its score. Quotes are lines of the row's code, which may stand further left than in the file."""
    lines, rated = q.code.split("\n"), []
    for remark, passed in zip(remarks, passes, strict=True):
        line = min(max(remark.places[0].start - at.first + 1, 1), len(lines))
        finding = Finding(lines[line - 1], remark.finding.comment)
        if remark.evidence is not None and remark.evidence.kind == "wrong example":
            one = RatedFinding(finding, "nitpick", category="documentation")
        else:
            one = RatedFinding(finding, *(("bug", _nearest(line, q)) if passed and q.bugs else ("hallucination",)))
        rated.append((remark.score, one))
    return tuple(rated)


def _nearest(line: int, q: ReviewQuestion) -> int:
    """The number of the bug that stands nearest to a line; an exception is raised near what causes it."""
    return min(range(len(q.bugs)), key=lambda i: min(abs(line - of) for of in q.bugs[i].lines))
