"""What a form of feedback is: what a table's columns are called, and what its rows mean.

A form is one file: a class derived from :class:`DatasetForm`, marked with :data:`custodes.registry.form`. Ours are in
:mod:`custodes.feedback.forms`; one of your own is ``--read-as FILE.py:Name``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from custodes.dialogue import Messages, as_completion, from_json, plain_text
from custodes.feedback.kinds.step import StepMark, joined_steps
from custodes.feedback.source import FeedbackRow
from custodes.tables import TableRow

ANNOTATOR = ("annotator", "annotator_id", "worker", "worker_id", "labeler", "rater", "judge")
"""Columns that say who judged."""


class DatasetForm:
    """One form. A table has it where each of ``needs`` is there and :meth:`holds` is so."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Columns; "a|b" is either."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Further columns that are read."""
    rank: ClassVar[int] = 2
    """Forms of a lower rank are tried first: the most general ones come last."""

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Of the first value in each column: tells apart forms whose columns have the same names."""
        return True

    def prepare(self, rows: Sequence[TableRow]) -> list[TableRow]:
        """What is done to all rows first."""
        return list(rows)

    def read(self, row: FeedbackRow) -> None:
        """What one row says: see :meth:`FeedbackRow.say`. Raises InputError for a row that cannot be used."""
        raise NotImplementedError

    @classmethod
    def lacks(cls, columns: Mapping[str, Any]) -> list[str]:
        """The columns that a table needs to have this form and has not."""
        return [need for need in cls.needs if not any(name in columns for name in need.split("|"))]

    @classmethod
    def columns(cls) -> set[str]:
        """Every column that is read."""
        return {name for need in (*cls.needs, *cls.uses) for name in need.split("|")}


def holds_list(given: Any, kind: type) -> bool:
    """Whether a value is a list of ``kind``, also in JSON."""
    given = from_json(given) if isinstance(given, str) else given
    return isinstance(given, list) and bool(given) and isinstance(given[0], kind)


# ---------------------------------------------------------------- which of two answers is better


def strength_fields(value: int, verdict: str = "tie") -> dict[str, Any]:
    """The fields of a comparison: positive for the first answer; of 0, ``verdict`` says what was meant."""
    return {"strength": value, "verdict": "prefer" if value else verdict}


WINNERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("model_a", "a", "a>b", "a>>b", "response_a", "completion_a", "left", "first"), strength_fields(1)),
    **dict.fromkeys(
        ("model_b", "b", "b>a", "b>>a", "response_b", "completion_b", "right", "second"), strength_fields(-1)
    ),
    **dict.fromkeys(("tie", "a=b", "equal", "draw"), strength_fields(0)),
    **dict.fromkeys(("tie (bothbad)", "both_bad", "bothbad", "both bad"), strength_fields(0, "both_bad")),
}


def winner_fields(row: FeedbackRow, name: str) -> dict[str, Any]:
    """The fields of a comparison, from a column that names the better answer. Raises InputError for other words."""
    given = str(row.values.get(name))
    if plain_text(given).lower() not in WINNERS:
        raise row.bad(name, f"{given[:40]!r}; it should be one of model_a, model_b, tie or tie (bothbad)")
    return WINNERS[plain_text(given).lower()]


def strength_in(row: FeedbackRow, name: str) -> dict[str, Any]:
    """The fields of a comparison, from a column below 0 where the first answer is better."""
    given = row.number(name, -3, 3)
    if given != int(given):
        raise row.bad(name, f"{given}; it should be whole, from -3 to 3")
    return strength_fields(-int(given))


def mark_steps(
    row: FeedbackRow, prompt: Messages, steps: Sequence[str], marks: Mapping[int, int], by: str = ""
) -> None:
    """A step mark for each of ``marks`` (step -> value) on the answer that the steps make together."""
    answer = (as_completion(joined_steps(steps)),)
    for step, value in marks.items():
        row.say(StepMark, prompt, answer, step=step, value=value, annotator=by)
