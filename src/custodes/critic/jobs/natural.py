"""Bugs of real histories: functions of older releases on which a test of the newer release fails: ``custodes critic natural``.

Two releases of a package share a function under one name, and the two differ in a line or two. That is a repaired bug
where the newer release's tests pass with the newer function and one fails with the older in its place. The test proves a
difference that somebody found worth a test. It cannot say whether the older behaviour was a mistake or a later wish. What
fails only because the older code meets a newer world (another name of a helper, a word of Python 2) is left out.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.critic.corpus import Function, extract, read_corpus
from custodes.critic.examples import Bug, BugExample, write_json_lines
from custodes.critic.sources import SOURCES, Package, open_package
from custodes.critic.tamper.bugs import Tampered, program
from custodes.critic.tamper.make import KEPT, example, try_codes
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.progress import Progress
from custodes.ranges import Count, ranged
from custodes.types import InputError

OLDER = {
    "boltons": ("25.0.0", "24.0.0", "23.0.0", "21.0.0", "20.0.0", "19.0.0", "18.0.0", "17.0.0"),
    "more-itertools": ("11.0.0", "10.5.0", "10.0.0", "9.0.0", "8.10.0", "8.0.0", "7.0.0", "6.0.0", "5.0.0", "4.0.0"),
}
"""Earlier releases of the packages that no training example comes from."""
ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute")
WORD = re.compile(r"\w+")
PYTHON_2 = {"unicode", "basestring", "xrange", "unichr", "long", "iteritems", "itervalues", "iterkeys"}


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticNatural:
    """Find bugs of real histories: functions of older releases on which a test of the newer release fails."""

    corpus: Path
    """What `custodes critic corpus` made: functions with their tests."""
    out: Output
    """The examples, JSON Lines, of the split natural."""
    releases: str = ""
    """Older releases, as in boltons==24.0.0,toolz==0.11.0; where empty, some of boltons and more-itertools."""
    lines: Count = 2
    """Lines that may differ between the two releases, removed and added each."""
    sandbox: Kind = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """The same function in two releases."""

    newer: Function
    """With the tests that exercise it."""
    older: str
    """Its code in the older release."""
    bug: Bug


@command()
def critic_natural(config: CriticNatural) -> dict[str, Any]:
    """Find bugs of real histories: older functions on which a newer test fails.

    Make the file; returns counts. Raises InputError for a corpus or releases that are not to be had.
    """
    wanted = _wanted(config.releases)
    newer: dict[str, list[Function]] = {name: [] for name in wanted}
    for f in read_corpus(config.corpus):
        if f.package in newer and f.tests:
            newer[f.package].append(f)
    if missing := [name for name, functions in newer.items() if not functions]:
        raise InputError(f"{config.corpus} holds no function of {missing[0]} with a test; make it with that package.")
    changed: dict[str, list[ReleaseChange]] = {}
    rows: list[BugExample] = []
    with Progress() as progress:
        bar = progress.add_task("Comparing releases", total=sum(map(len, wanted.values())))
        for name, versions in wanted.items():
            of_code: dict[
                tuple[str, str], ReleaseChange
            ] = {}  # each older code of a function once, of its last release
            for version in versions:
                for change in _release_changes(newer[name], open_package(name, version), config.lines):
                    of_code.setdefault((change.newer.id, change.older), change)
                progress.advance(bar)
            changed[name] = list(of_code.values())
        for name in progress.track(wanted, description="Running tests"):
            try:
                with Workshop(open_package(name), kind=config.sandbox) as workshop:
                    rows += _proved(workshop, changed[name])
            except SandboxFailure as failure:
                raise InputError(f"the tests of {name} could not be run: {failure}") from None
    write_json_lines(config.out, rows)
    bugs = [row for row in rows if row.bugs]
    return {
        "compared": {name: len(newer[name]) for name in wanted},
        "changed": {name: len(changed[name]) for name in wanted},
        "bugs": dict(Counter(row.package for row in bugs)),
        "functions": len({row.function for row in bugs}),
        "clean": len(rows) - len(bugs),
    }


@in_words(critic_natural)
def _show(options: CriticNatural, told: dict[str, Any]) -> None:
    for name, compared in told["compared"].items():
        older = f"{told['changed'][name]:>4,} older codes of few other lines, {told['bugs'].get(name, 0):>4,} proved"
        print(f"{name:<18}{compared:>5,} functions with tests, {older}")
    bugs = sum(told["bugs"].values())
    print(f"{bugs:,} bugs of {told['functions']:,} functions, {told['clean']:,} clean: {options.out}")


def _wanted(releases: str) -> dict[str, tuple[str, ...]]:
    """Package -> older releases."""
    found: dict[str, tuple[str, ...]] = {}
    for text in (t.strip() for t in releases.split(",") if t.strip()):
        name, _, version = text.partition("==")
        if name not in SOURCES or not version:
            raise InputError(f"release {text!r}: write PACKAGE==VERSION, of the packages {', '.join(SOURCES)}.")
        found[name] = (*found.get(name, ()), version)
    return found or OLDER


def _release_changes(newer: Iterable[Function], older: Package, most_lines: int = 2) -> list[ReleaseChange]:
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
            found.append(ReleaseChange(f, code, bug))
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
    was, now = (" ".join(line.strip() for line in part if line.strip()) for part in (removed, added))
    if was and now:
        said = f"`{was}` is wrong here: release {version} has `{now}` instead."
    elif now:
        said = f"Something is missing here: release {version} has `{now}`."
    else:
        said = f"`{was}` should not be here: release {version} has dropped it."
    return Bug("natural", tuple(sorted(lines)), said, "\n".join(added))


def _proved(workshop: Workshop, changes: Sequence[ReleaseChange]) -> list[BugExample]:
    """The changes that a test of the newer release notices, as examples, each with its repaired function as a clean one.

    The workshop holds the newer release. Raises SandboxFailure where its tests cannot be run.
    """
    by_function: dict[str, list[ReleaseChange]] = {}
    for change in changes:
        by_function.setdefault(change.newer.id, []).append(change)
    groups = list(by_function.values())
    answers = try_codes(workshop, [g[0].newer for g in groups], [[change.older for change in g] for g in groups])
    rows: dict[str, BugExample] = {}
    for group, answer in zip(groups, answers, strict=True):
        f, own = group[0].newer, list[BugExample]()
        for change, (outcome, unit, message) in zip(group, answer["results"], strict=False):
            if outcome in KEPT and not _out_of_place(change, message):
                own.append(example(f, Tampered(change.older, (change.bug,)), "test", "natural", unit, message))
        own += [example(f, Tampered(f.code, ()), "clean", "natural")] if own else []
        rows |= {row.id: row for row in own}
    return list(rows.values())


def _out_of_place(change: ReleaseChange, message: str) -> bool:
    """Whether the older code fails for its surroundings: a name that is no more, an attribute of its own class that was
    renamed, or what only Python 2 had."""
    missing = ATTRIBUTE.search(message)
    renamed = missing is not None and missing[1] in change.newer.qualname.split(".")
    old = set(WORD.findall(change.older)) - set(WORD.findall(change.newer.code))
    return message.startswith("NameError") or renamed or bool(old & PYTHON_2)
