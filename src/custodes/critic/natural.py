"""Bugs of real histories: functions of older releases on which a test of the newer release fails.

A function that two releases of a package share under one name, and that differ in a line or two, is a repaired bug where
the newer release's tests pass with the newer function and one fails with the older in its place. That is proof of a
difference that somebody found worth a test; whether the older behaviour was a mistake or a wish come later, a test
cannot say. What fails only because the older code meets a newer world (a helper or an attribute that has another name, a
word of Python 2) is left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from custodes.critic.corpus import Function, extract
from custodes.critic.sources import Package
from custodes.critic.tamper.bugs import Bug, Tampered, program
from custodes.critic.tamper.examples import Example, example
from custodes.critic.tamper.make import KEPT
from custodes.critic.workshop import Workshop

ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute")
WORD = re.compile(r"\w+")
PYTHON_2 = {"unicode", "basestring", "xrange", "unichr", "long", "iteritems", "itervalues", "iterkeys"}


@dataclass(frozen=True, slots=True)
class Change:
    """The same function in two releases."""

    newer: Function
    """With the tests that exercise it."""
    older: str
    """Its code in the older release."""
    version: str
    """Of the older release."""
    bug: Bug


def changes(newer: Iterable[Function], older: Package, most_lines: int = 2) -> list[Change]:
    """Functions with tests whose older code is another program and differs in at most ``most_lines`` lines.

    Lines removed and lines added are counted apart, and comments and blank lines count like others.
    """
    before = {(f.path, f.qualname): f.code for f in extract(older)}
    found = []
    for f in newer:
        code = before.get((f.path, f.qualname))
        if code is None or not f.tests or program(code) in ("", program(f.code)):
            continue
        bug = _repaired(code, f.code, f.version, most_lines)
        if bug is not None:
            found.append(Change(f, code, older.version, bug))
    return found


def _repaired(older: str, newer: str, version: str, most_lines: int) -> Bug | None:
    """What the newer code changed, seen from the older; None where that is more than ``most_lines`` lines.

    Where lines were only added, the lines beside the gap are the bug's.
    """
    old, new = older.rstrip("\n").split("\n"), newer.rstrip("\n").split("\n")
    hunks = [h for h in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if h[0] != "equal"]
    removed = [line for _, a, b, _, _ in hunks for line in old[a:b]]
    added = [line for _, _, _, a, b in hunks for line in new[a:b]]
    if max(len(removed), len(added)) > most_lines:
        return None
    lines: set[int] = set()
    for _, a, b, _, _ in hunks:
        lines |= set(range(a + 1, b + 1)) if b > a else {n for n in (a, a + 1) if 1 <= n <= len(old)}
    lines = {n for n in lines if not old[n - 1].lstrip().startswith("#")} or lines
    return Bug("natural", tuple(sorted(lines)), _said(removed, added, version), "\n".join(added))


def proved(workshop: Workshop, found: Sequence[Change]) -> list[Example]:
    """The changes that a test of the newer release notices, as examples, each with its repaired function as a clean one.

    The workshop holds the newer release. Raises SandboxFailure where its tests cannot be run.
    """
    package = workshop.package
    by_function: dict[str, list[Change]] = {}
    for change in found:
        by_function.setdefault(change.newer.id, []).append(change)
    groups = list(by_function.values())
    job = {
        "import": sorted({*package.imports, *(g[0].newer.module for g in groups)}),
        "root": package.root,
        "functions": [
            {
                "path": g[0].newer.path,
                "line": g[0].newer.line,
                "qualname": g[0].newer.qualname,
                "original": g[0].newer.code,
                "units": [test.unit for test in g[0].newer.tests],
                "codes": [change.older for change in g],
            }
            for g in groups
        ],
    }
    rows = []
    for group, answer in zip(groups, workshop.do("mutate", job, 3600) if groups else [], strict=True):
        noticed = [
            (change, unit, message)
            for change, (outcome, unit, message) in zip(group, answer["results"], strict=False)
            if outcome in KEPT and not _out_of_place(change, message)
        ]
        for change, unit, message in noticed:
            rows.append(example(change.newer, Tampered(change.older, (change.bug,)), "test", "natural", unit, message))
        if noticed:
            rows.append(example(group[0].newer, Tampered(group[0].newer.code, ()), "clean", "natural"))
    return list({row.id: row for row in rows}.values())


def _out_of_place(change: Change, message: str) -> bool:
    """Whether the older code fails for its surroundings: a name that is no more, an attribute of its own class that was
    renamed, or what only Python 2 had."""
    missing = ATTRIBUTE.search(message)
    old = set(WORD.findall(change.older)) - set(WORD.findall(change.newer.code))
    return (
        message.startswith("NameError")
        or (missing is not None and missing[1] in change.newer.qualname.split("."))
        or bool(old & PYTHON_2)
    )


def _said(removed: Sequence[str], added: Sequence[str], version: str) -> str:
    """The repair in a reviewer's words, as far as the two texts tell them."""
    old, new = (" ".join(line.strip() for line in lines if line.strip()) for lines in (removed, added))
    if old and new:
        return f"`{old}` is wrong here: release {version} has `{new}` instead."
    if new:
        return f"Something is missing here: release {version} has `{new}`."
    return f"`{old}` should not be here: release {version} has dropped it."
