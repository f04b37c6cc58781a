"""Judgments of every type to files and back: one row each, the type in the column ``kind``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from custodes.feedback.collection import Feedback, text_columns
from custodes.tables import Row, read_rows, write_rows
from custodes.types import SELDOM, InputError, Judgment

KINDS: dict[str, type] = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", t.__name__).lower(): t for t in get_args(Judgment)}
"""Name of each type in the column ``kind``: "comparison", "span_mark", ..."""

_COLUMNS = {"label": {"value": "label"}}  # a label's value is text: in a column apart from the numbers of the others
_FIELDS = {kind: {_COLUMNS.get(kind, {}).get(f.name, f.name): f for f in fields(t)} for kind, t in KINDS.items()}


def _check_of(kind: str, type_: type) -> type[BaseModel]:
    """A model that takes the fields of ``type_`` and nothing that would have to be converted."""
    hints = get_type_hints(type_)
    columns: Any = {f.name: (hints[f.name], ... if f.default is MISSING else f.default) for f in fields(type_)}
    return create_model(kind, __config__=ConfigDict(strict=True, allow_inf_nan=False), **columns)


_CHECKS = {kind: _check_of(kind, type_) for kind, type_ in KINDS.items()}
_KIND_OF = {type_: kind for kind, type_ in KINDS.items()}


TEXTS = ("prompt", "answers", "annotator_kind")
"""Columns that make a row whole: the prompt's messages, each answer's messages in the order of ``episodes``, who judged."""


def write_judgments(path: str | Path, judgments: Iterable[Judgment], feedback: Feedback | None = None) -> Path:
    """Writes judgments to a table, columns named like the fields of the types, and a label's value in ``label``.

    With ``feedback``, which holds their tasks and episodes, each row also has the texts that were judged, so that the
    file needs no other beside it. Raises InputError as :func:`~custodes.tables.write_rows` does.
    """
    return write_rows(path, (judgment_row(judgment, feedback) for judgment in judgments))


def read_judgments(path: str | Path) -> list[Judgment]:
    """Reads what :func:`write_judgments` wrote. Raises InputError naming file, row and field that is wrong."""
    return [read_judgment(row) for row in read_rows(path)]


def judgment_row(judgment: Judgment, feedback: Feedback | None = None) -> dict[str, Any]:
    """A judgment as a row of a file: its kind and the fields that say something, and the texts where they are known."""
    kind = _KIND_OF[type(judgment)]
    values = {column: getattr(judgment, f.name) for column, f in _FIELDS[kind].items()}
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
    row = {"kind": kind} | {k: v for k, v in told.items() if k not in SELDOM or v != SELDOM[k]}
    if feedback is None:
        return row
    by = feedback.annotators.get(judgment.annotator)
    texts = text_columns(judgment, feedback.tasks, feedback.episodes)
    return row | texts | ({"annotator_kind": by.kind} if by else {})


def kind_of(judgment: Judgment) -> str:
    """The name of a judgment's type in the column ``kind``."""
    return _KIND_OF[type(judgment)]


def read_judgment(row: Row) -> Judgment:
    """The judgment of a row that :func:`write_judgments` wrote; the columns ``TEXTS`` are left to others."""
    values = {name: value for name, value in row.values.items() if name not in TEXTS}
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise InputError(f"{row.place}, field 'kind': {kind!r}; it should be one of {', '.join(KINDS)}.")
    known = _FIELDS[kind]
    for name in values.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}."
        raise InputError(f"{row.place}, field {name!r}: a {kind} has no such field; {hint}")
    for name, field in known.items():
        if name not in values and field.default is MISSING:
            raise InputError(f"{row.place}: a {kind} needs the field {name!r}; found {', '.join(values)}.")
    given = {known[n].name: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    try:
        _CHECKS[kind].model_validate(given)
        judgment: Judgment = KINDS[kind](**given)
    except ValidationError as error:
        raise InputError(f"{row.place}, {describe(error)}.") from None
    except InputError as error:
        raise InputError(f"{row.place}: {error}") from None
    return judgment


def describe(error: ValidationError) -> str:
    """The first thing that pydantic found, in words: the field, what is wrong, what was given."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    what = str(cause) if isinstance(cause, ValueError) else first["msg"].replace("Input should", "it should")
    given = "" if first["type"] in ("missing", "value_error") else f" (given: {str(first['input'])[:40]!r})"
    return f"field {str(first['loc'][0])!r}: {what}{given}"
