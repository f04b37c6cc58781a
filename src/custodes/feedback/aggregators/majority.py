"""The plain vote: every annotator counts the same."""

from __future__ import annotations

from collections.abc import Iterator

from custodes.feedback.labels.rounds import EmRound
from custodes.feedback.labels.table import LabelTable
from custodes.registry import aggregator


@aggregator
def majority(table: LabelTable) -> Iterator[EmRound]:
    """Vote shares, in one round."""
    yield EmRound(table.shares, {})
