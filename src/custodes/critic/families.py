"""Functions with all the changes that are known to break them, from which training draws ever new examples.

A row of ``custodes critic tamper`` has one bug. Rows of one function differ from its clean row in a
few lines each. So several bugs can be put into one copy of it, and every line of that copy teaches something. A reader of such a copy learns
from each pass over the tokens several times what a copy with one bug would teach it.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KnownBug:
    """Code and the lines, from 1, of its bugs; none for clean code. ``kinds`` names the bug of each line, where known;
    ``function`` whose version it is: versions of one function are measured as a cluster."""

    code: str
    lines: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    function: str = ""


@dataclass(frozen=True, slots=True)
class FamilyChange:
    """Lines ``first`` to ``end`` (from 0, exclusive) of the clean code become ``text``; ``wrong`` are places of the bug's
    lines, counted from ``first``."""

    first: int
    end: int
    text: tuple[str, ...]
    wrong: tuple[int, ...]
    kind: str = ""

    def is_apart(self, other: FamilyChange) -> bool:
        """Whether a line lies between the two, so that each can be seen."""
        return self.end < other.first or other.end < self.first


@dataclass(frozen=True, slots=True)
class Family:
    """One function: as it is, and what breaks it. ``rows`` are examples that cannot be put together with others."""

    code: str = ""
    changes: tuple[FamilyChange, ...] = ()
    rows: tuple[KnownBug, ...] = field(default=())

    def draw(self, seed: str, clean: float, alone: float) -> KnownBug:
        """An example: without a bug with probability ``clean``, with one with ``alone``, else with several."""
        chance = random.Random(seed)
        if not self.changes or (self.rows and chance.random() < len(self.rows) / (len(self.rows) + len(self.changes))):
            return chance.choice(self.rows) if self.rows else KnownBug(self.code)
        kind = chance.random()
        several = chance.randint(2, max(2, self.code.count("\n") // 4))
        wanted = 0 if kind < clean else 1 if kind < clean + alone else several
        chosen: list[FamilyChange] = []
        for change in chance.sample(self.changes, len(self.changes)):
            if len(chosen) < wanted and all(change.is_apart(other) for other in chosen):
                chosen.append(change)
        return _changed(self.code, chosen)


def clusters(functions: Iterable[str]) -> list[Hashable]:
    """What intervals count: functions, and what names none by itself."""
    return [function or i for i, function in enumerate(functions)]


def _changed(code: str, changes: Iterable[FamilyChange]) -> KnownBug:
    """The code with changes that are apart from each other."""
    lines, shift, wrong = code.split("\n"), 0, dict[int, str]()
    for change in sorted(changes, key=lambda c: c.first):
        at = change.first + shift
        lines[at : at + change.end - change.first] = change.text
        shift += len(change.text) - (change.end - change.first)
        wrong |= {at + place + 1: change.kind for place in change.wrong}
    kept = {line: kind for line, kind in sorted(wrong.items()) if 1 <= line <= len(lines)}
    return KnownBug("\n".join(lines), tuple(kept), tuple(kept.values()))


def families_of(rows: Iterable[tuple[str, KnownBug]]) -> list[Family]:
    """(function, example) of every row -> one family a function, in the order in which they appear.

    Where a function has no clean row, or a row has several bugs, rows stay as they are.
    """
    by_function: dict[str, list[KnownBug]] = {}
    for function, bug in rows:
        by_function.setdefault(function, []).append(bug)
    families = []
    for bugs in by_function.values():
        clean = next((b.code for b in bugs if not b.lines), None)
        if clean is None:
            families.append(Family(rows=tuple(bugs)))
            continue
        found = [(b, _change(clean, b)) for b in bugs if b.lines]
        changes = tuple(change for _, change in found if change is not None)
        families.append(Family(clean, changes, tuple(b for b, change in found if change is None)))
    return families


def _change(clean: str, bug: KnownBug) -> FamilyChange | None:
    """What makes ``bug`` out of the clean code; None where that is more than one bug's worth of lines."""
    old, new = clean.split("\n"), bug.code.split("\n")
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - same
    below = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    text = tuple(new[same : len(new) - below])
    if len(set(bug.kinds)) > 1 or max(bug.lines) - min(bug.lines) > max(len(text), 1):
        return None
    wrong = tuple(line - 1 - same for line in bug.lines)
    return FamilyChange(same, len(old) - below, text, wrong, bug.kinds[0] if bug.kinds else "")
