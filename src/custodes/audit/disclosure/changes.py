"""What changed between two disclosures: the log of a Reward Report (Gilbert et al., arXiv 2204.10817, section 4.6).

A system that learns is not disclosed once. Each change names the line, what it is about, and both values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custodes.audit.disclosure.filling import Disclosure
from custodes.audit.disclosure.lines import Shown
from custodes.page import NOT_RECORDED


@dataclass(frozen=True)
class LineChange:
    """One value of a line that another record has not, or has otherwise; "not recorded" where one of them has none."""

    key: str
    title: str
    name: str
    was: str
    now: str


def line_changes(now: Disclosure, before: Disclosure) -> list[LineChange]:
    """What the record says now and did not say before, or the other way round, in the order of the lines."""
    return list(_changes(now, before))


def _changes(now: Disclosure, before: Disclosure) -> Iterator[LineChange]:
    for key, line in now.lines.items():
        earlier = before.lines[key]
        for name in dict.fromkeys((*line.value, *earlier.value)):
            held, had = line.value.get(name), earlier.value.get(name)
            if held != had:
                yield LineChange(key, line.title, name, _told(had), _told(held))


def _told(shown: Shown | None) -> str:
    return (
        NOT_RECORDED
        if shown is None
        else shown
        if isinstance(shown, str)
        else f"{shown:,}"
        if isinstance(shown, int)
        else str(shown)
    )
