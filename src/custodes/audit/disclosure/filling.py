"""The disclosure: groups of lines, filled from some ledgers and from what a person states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from custodes import registry
from custodes.audit.disclosure.facts import read_facts
from custodes.audit.disclosure.history import RecordedHistory
from custodes.audit.disclosure.lines import DisclosureGroup, DisclosureSource, FilledLine


@dataclass(frozen=True)
class Disclosure:
    """All lines of some ledgers, group by group."""

    history: RecordedHistory
    groups: Sequence[DisclosureGroup]

    @cached_property
    def lines(self) -> dict[str, FilledLine]:
        """Key -> line, in the order in which they are shown."""
        return {of.key: of for group in self.groups for of in group.figures.values()}

    def counted(self, survey: bool) -> dict[str, int]:
        """How many lines have which status; those of the survey's list, or the others."""
        lines = [of for group in self.groups if group.survey is survey for of in group.figures.values()]
        recorded = sum(bool(of.value) for of in lines)
        stated = sum(bool(of.stated) and not of.value for of in lines)
        return {"lines": len(lines), "recorded": recorded, "stated": stated, "neither": len(lines) - recorded - stated}

    def to_dict(self) -> dict[str, Any]:
        ledgers = zip(self.history.ledgers, self.history.verified, strict=True)
        return {
            "survey": self.counted(True),
            "others": self.counted(False),
            "ledgers": [{"ledger": of.name, "rows": found.rows, "head": found.head} for of, found in ledgers],
            "gaps": self.history.gaps,
            "lines": {key: of.to_dict() for key, of in self.lines.items()},
        }


def _groups() -> dict[str, type[DisclosureGroup]]:
    """Name -> group, in the order in which they are shown."""
    groups = {name: registry.disclosure.find(name) for name in registry.disclosure.names()}
    return dict(sorted(groups.items(), key=lambda item: item[1].place))


def disclose(history: RecordedHistory, facts: Path | None = None) -> Disclosure:
    """What the ledgers say, line by line, and what a person's ``facts`` add. Raises InputError for facts of unknown lines."""
    groups = _groups()
    source = DisclosureSource(history, read_facts(facts, groups) if facts is not None else {})
    return Disclosure(history, [group(source, name) for name, group in groups.items()])
