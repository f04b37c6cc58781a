"""Withdrawing what a ledger holds of a person: the text goes, its digest stays, and a row says who withdrew what and why.

The chain still verifies, since a row's hash covers the digests of its fields (:mod:`custodes.ledger.sealing`). Columns that
name a row (run, kind, key, time) stay. So do ids inside it, unless they are chosen by name.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Text, inspect, select, text

from custodes.digests import HOLE, TAKEN
from custodes.ledger.artefacts import Files
from custodes.ledger.chain import ChainRow, digest_of_left
from custodes.ledger.codec import DISPENSABLE
from custodes.ledger.ledger import Ledger
from custodes.ledger.records import Redaction
from custodes.ledger.schema import log
from custodes.ledger.sealing import is_of_first_format, leaves, shown_path, unsealed, withdraw, withdrawn_of
from custodes.types import InputError

SHORTEST = 8
"""Characters of the shortest text that is looked for elsewhere; shorter ones stand everywhere."""

LARGEST_FILE = 1 << 28
"""Bytes of the largest file in which a withdrawn text is looked for."""

NAMES = frozenset(
    ("type", "annotator", "task", "episodes", "shown", "seconds", "assistance", "guideline", "axis", "name")
)
"""Fields of a judgment that say what it is about; the others are what was said."""

SAID = {
    "task": ("messages", "metadata"),
    "episode": ("task.messages", "task.metadata", "messages", "reply"),
    "annotator": ("profile",),
    "decision": ("why",),
    "evaluation": ("metrics",),
    "model": ("metadata",),
}
"""What is withdrawn from a row of a kind where no field is named."""

TOKENS = ("token_ids", "logprobs")
"""Fields of an episode that spell its text; they go with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionChoice:
    """Which rows; each condition that is given must hold. Superseded rows are rows too."""

    run: str = ""
    rows: Sequence[int] = ()
    annotator: str = ""  # who gave the judgment, or whom the row describes
    holding: str = ""  # a text that the row holds, to the letter
    fields: Sequence[str] = ()  # without: those that hold the text, else what was said


@dataclass(slots=True)
class Redacted:
    """What was withdrawn, and what stands in the way of its being gone."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # row, run, kind, key, fields
    files: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)  # sentences: where a withdrawn text still stands
    unwiped: str = ""  # a sentence, where the disk may still hold the text

    @property
    def exit_code(self) -> int:
        return 1 if self.still or self.unwiped else 0


class WithdrawnRow(NamedTuple):
    """A row that lacks fields, and the row that says so. For reports and disclosures: tell it, never leave it out."""

    row: int
    run: str
    kind: str
    key: str
    fields: tuple[str, ...]
    at: str  # UTC, ISO 8601
    who: str
    why: str
    readable: bool  # whether the ledger still yields a record of this row, without the fields


def redact(
    ledger: Ledger, choice: RedactionChoice, files: Iterable[Path] = (), *, who: str, why: str, dry_run: bool = False
) -> Redacted:
    """Withdraw fields of rows, and whole files, which are deleted. Done again, it finishes what was interrupted.

    Raises InputError where nothing is chosen, for fields that are not there, and for rows that must stay.
    """
    known = Files(ledger)
    names = [known.name(path) for path in files]
    for path, name in zip(files, names, strict=True):
        if name not in known.versions and name not in known.inputs:
            raise InputError(f"{path} is no file that {ledger.name} recorded, so it needs no withdrawing.")
    wanted = bool(choice.rows or choice.annotator or choice.holding)
    if not wanted and not names:
        raise InputError("nothing is chosen; say --row, --annotator, --holding or --file.")
    chosen = list(_chosen(ledger, choice)) if wanted else []
    if wanted and not chosen:
        raise InputError(f"{ledger.name} has no row of this choice; nothing was withdrawn.")
    found, texts = Redacted(files=names), set[str]()
    bodies: dict[int, str] = {}
    redactions: dict[str, dict[str, Any]] = {}
    for row, paths in chosen:
        if not paths:
            continue
        fields = [shown_path(path) for path in paths]
        found.rows.append({"row": row.seq, "run": row.run, "kind": row.kind, "key": row.key, "fields": fields})
        said = {path: value for path, value in leaves(row.body) if path in paths and shown_path(path) not in TOKENS}
        texts |= {words for value in said.values() for words in strings_in(json.loads(value))}
        bodies[row.seq] = withdraw(row.body, paths)
        told = redactions.setdefault(row.run, {"withdrawn": {}, "left": {}})
        told["withdrawn"][str(row.seq)] = fields
        if is_of_first_format(bodies[row.seq]):
            told["left"][str(row.seq)] = digest_of_left(row._replace(body=bodies[row.seq]))
    gone = {name for _, _, _, earlier in ledger.redactions() for name in earlier.files}
    if new := [name for name in names if name not in gone]:
        run = next(r for s, r, a in reversed(ledger.artefacts()) if a.path == new[0])
        redactions.setdefault(run, {"withdrawn": {}, "left": {}})["files"] = tuple(new)
    if dry_run:
        return found
    made = {
        run: Redaction(f"redaction-{secrets.token_hex(6)}", who=who, why=why, **told)
        for run, told in redactions.items()
    }
    if made:
        ledger.rewrite(bodies, made)
    for name in names:
        known.place(name).unlink(missing_ok=True)
    found.unwiped = ledger.wipe() or ""
    found.still = list(still_there(ledger, known, texts | {choice.holding}))
    return found


def withdrawn_rows(ledger: Ledger, run: str = "") -> list[WithdrawnRow]:
    """Every row of the ledger, or of one run, that lacks fields: which, since when, by whom and why."""
    told = [(at, redaction) for _, at, of, redaction in ledger.redactions() if run in ("", of)]
    wanted = {int(seq) for _, redaction in told for seq in redaction.withdrawn}
    held = {row.seq: row for row in _rows(ledger) if row.seq in wanted} if wanted else {}
    found = []
    for at, redaction in told:
        for seq, fields in redaction.withdrawn.items():
            row = held[int(seq)]
            least = [".".join(place) for place in DISPENSABLE.get(row.kind, {})]
            readable = all(is_within(f, least) for f in map(shown_path, withdrawn_of(row.body)))
            found.append(
                WithdrawnRow(
                    row.seq, row.run, row.kind, row.key, tuple(fields), at, redaction.who, redaction.why, readable
                )
            )
    return found


def redaction_sentences(ledger: Ledger, run: str = "") -> list[str]:
    """One sentence for each act of withdrawing: how many rows of which kinds, when, by whom and why."""
    told = []
    for seq, at, of, redaction in ledger.redactions():
        if run not in ("", of):
            continue
        rows = [w for w in withdrawn_rows(ledger, of) if str(w.row) in redaction.withdrawn and w.at == at]
        kinds = Counter(w.kind for w in rows)
        what = [
            f"{', '.join(sorted({f for w in rows if w.kind == kind for f in w.fields}))} of {n:,} {kind} row{'s' * (n > 1)}"
            for kind, n in kinds.items()
        ]
        what += [f"the file {name}" for name in redaction.files]
        told.append(
            f"Withdrawn on {at[:10]} by {redaction.who}: {'; '.join(what)}. Why: {redaction.why.rstrip('.')} (row {seq:,})."
        )
    if ledger.withheld:
        told.append(f"This copy withholds fields of {len(ledger.withheld):,} rows; their digests are there.")
    return told


# ---------------------------------------------------------------- parts


def _rows(ledger: Ledger) -> Iterator[ChainRow]:
    with ledger.reading() as connection:
        rows = connection.execution_options(yield_per=1000).execute(select(log).order_by(log.c.seq))
        for row in rows:
            yield ChainRow(*row)


def _chosen(ledger: Ledger, choice: RedactionChoice) -> Iterator[tuple[ChainRow, list[str]]]:
    """(row, paths of its fields) of what is chosen; no path where all that was withdrawn before."""
    escaped = json.dumps(choice.holding, ensure_ascii=False)[1:-1]
    missing = set(choice.rows)
    unknown = set(choice.fields)
    for row in _rows(ledger):
        if (choice.run and row.run != choice.run) or (choice.rows and row.seq not in choice.rows):
            continue
        missing.discard(row.seq)
        if (choice.annotator and not _is_of(row, choice.annotator)) or escaped not in row.body:
            continue
        fields = dict(leaves(row.body))
        if choice.fields:
            paths = [path for path in fields if is_within(shown_path(path), choice.fields)]
            before = map(shown_path, withdrawn_of(row.body))
            unknown -= {f for f in choice.fields for p in (*map(shown_path, paths), *before) if is_within(p, [f])}
        elif escaped:
            paths = [path for path, value in fields.items() if escaped in value]
        else:
            paths = _said(row, list(fields))
        if row.kind == "episode" and any(shown_path(p) in ("task.messages", "messages", "reply") for p in paths):
            paths += [path for path in fields if shown_path(path) in TOKENS and path not in paths]
        _require_may_go(row, paths)
        yield row, paths
    if missing:
        raise InputError(f"row {min(missing)} is not in this ledger{' or not of this run' if choice.run else ''}.")
    if unknown:
        raise InputError(
            f"no chosen row has a field {min(unknown)!r}; a field of a mapping is written as in task.messages."
        )


def _is_of(row: ChainRow, annotator: str) -> bool:
    if row.kind == "judgment":
        return bool(unsealed(row.body).get("annotator") == annotator)
    return row.kind == "annotator" and row.key == annotator


def is_within(field: str, chosen: Iterable[str]) -> bool:
    """Whether a field is one of ``chosen``, or in a mapping that is: task.messages is in task."""
    return any(field == one or field.startswith(f"{one}.") for one in chosen)


def _said(row: ChainRow, paths: list[str]) -> list[str]:
    if row.kind == "judgment":
        return [path for path in paths if shown_path(path).partition(".")[0] not in NAMES]
    if row.kind not in SAID:
        raise InputError(f"row {row.seq} is a {row.kind}; say which of its fields is to go with --field.")
    return [path for path in paths if is_within(shown_path(path), SAID[row.kind])]


def _require_may_go(row: ChainRow, paths: list[str]) -> None:
    """Raises InputError for fields without which the record itself could not be checked."""
    fields = [shown_path(path) for path in paths]
    stays = row.kind in ("artefact", "redaction") and fields
    stays = stays or [f for f in fields if row.kind == "run" and not is_within(f, ["config"])]
    if row.kind == "decision" and unsealed(row.body).get("what") in (HOLE, TAKEN):
        stays = fields
    stays = stays or [f for f in fields if (row.kind, f) in (("decision", "what"), ("judgment", "type"))]
    if stays:
        raise InputError(
            f"{stays[0]} of row {row.seq} ({row.kind} {row.key!r}) cannot be withdrawn: the record could not be checked without it."
        )


def strings_in(value: Any) -> Iterator[str]:
    """The texts in what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)


def still_there(ledger: Ledger, files: Files, texts: set[str]) -> Iterator[str]:
    """A sentence for each place in which one of ``texts`` stands, which were withdrawn: rows, other tables, recorded files.

    Texts of fewer than 8 characters are not looked for: they stand everywhere.
    """
    texts = {said for said in texts if len(said) >= SHORTEST}
    forms = {form for t in texts for form in (t, *(json.dumps(t, ensure_ascii=a)[1:-1] for a in (True, False)))}
    if not forms:
        return
    for row in _rows(ledger):
        if any(form in row.body or form in row.key for form in forms):
            yield f"row {row.seq:,} ({row.kind} {row.key!r}) still holds a text that was withdrawn."
    with ledger.reading() as connection:
        tables = inspect(connection)
        for table in sorted(set(tables.get_table_names()) - {"log", "head"}):
            for column in tables.get_columns(table):
                quoted = connection.dialect.identifier_preparer.quote
                if not isinstance(column["type"], Text) and "CHAR" not in str(column["type"]).upper():
                    continue
                values = connection.execute(text(f"SELECT {quoted(column['name'])} FROM {quoted(table)}")).scalars()
                if any(value and form in value for value in values for form in forms):
                    yield f"column {column['name']} of table {table}, beside the log, still holds a text that was withdrawn."
    for version in {**files.inputs, **files.versions}.values():
        path = files.place(version.path)
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            content = path.read_bytes()
            if any(form.encode() in content for form in forms):
                yield f"{path} still holds a text that was withdrawn."
