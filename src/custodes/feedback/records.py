"""Judgments of every type to files and back: one row each, the type in the column ``kind``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import Path
from typing import Any

from custodes.feedback.collection import Feedback, text_columns
from custodes.feedback.questions import checked_judgment
from custodes.tables import TableRow, write_rows
from custodes.types import InputError, Judgment, judgment_type, located


@cache
def _fields(kind: str) -> dict[str, Field[Any]]:
    """Column -> field of a kind of judgment."""
    cls = judgment_type(kind)
    return {cls.columns.get(f.name, f.name): f for f in fields(cls)}


TEXTS = ("prompt", "answers", "annotator_kind")
"""Columns that make a row whole: the prompt's messages, each answer's messages in the order of ``episodes``, who judged."""


def write_judgments(path: str | Path, judgments: Iterable[Judgment], feedback: Feedback | None = None) -> Path:
    """Writes judgments to a table, columns named like the fields of the types, and a label's value in ``label``.

    With ``feedback``, which holds their tasks and episodes, each row also has the texts that were judged, so that the
    file needs no other beside it. Raises InputError as :func:`~custodes.tables.write_rows` does.
    """
    return write_rows(path, (judgment_row(judgment, feedback) for judgment in judgments))


def judgment_row(judgment: Judgment, feedback: Feedback | None = None) -> dict[str, Any]:
    """A judgment as a row of a file: its kind and the fields that say something, and the texts where they are known."""
    seldom = judgment.seldom
    values = {column: getattr(judgment, f.name) for column, f in _fields(judgment.kind).items()}
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
    row = {"kind": judgment.kind} | {k: v for k, v in told.items() if k not in seldom or v != seldom[k]}
    if feedback is None:
        return row
    by = feedback.annotators.get(judgment.annotator)
    texts = text_columns(judgment, feedback.tasks, feedback.episodes)
    return row | texts | ({"annotator_kind": by.kind} if by else {})


def read_judgment(row: TableRow) -> Judgment:
    """The judgment of a row that :func:`write_judgments` wrote; the columns ``TEXTS`` are left to others."""
    values = {name: value for name, value in row.values.items() if name not in TEXTS}
    kind = values.pop("kind", None)
    with located(f"{row.place}, field 'kind'"):
        known = _fields(str(kind))
    for name in values.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}."
        raise InputError(f"{row.place}, field {name!r}: a {kind} has no such field; {hint}")
    for name, field in known.items():
        if name not in values and field.default is MISSING:
            raise InputError(f"{row.place}: a {kind} needs the field {name!r}; found {', '.join(values)}.")
    with located(row.place):
        return checked_judgment(judgment_type(kind), {known[name].name: value for name, value in values.items()})
