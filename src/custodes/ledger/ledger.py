"""The append-only record of everything that happened.

One table of rows chained by hash holds every noun; nothing in it is edited. A later row supersedes an
earlier one by reference, and the earlier one stays.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, get_args

from sqlalchemy import ColumnElement, Connection, exists, func, select, text, update

from custodes.ledger.chain import GENESIS, ChainRow, Verification, hash_row, verify_chain
from custodes.ledger.codec import Entry, decode, encode
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.guards import trigger_problem
from custodes.ledger.heads import Head
from custodes.ledger.merkle import merkle_roots
from custodes.ledger.provenance import invocation, now
from custodes.ledger.records import Artefact, Decision, Evaluation, Model, Record, Redaction, Run, ScoreRow, Status
from custodes.ledger.schema import head, log
from custodes.ledger.sealing import is_same, seal
from custodes.types import Annotator, Episode, InputError, Judgment, Task

PAGE = 1000
"""Rows fetched, looked up or written by one statement."""


class Ledger:
    """One ledger, open. Threads and processes may share a ledger; writers take turns.

    Reads yield records in the order in which they were written, as of the moment of the call, a page at a
    time; superseded ones are left out unless ``history`` is true. So are records from which a field was withdrawn that
    they cannot do without; :meth:`redactions` and :func:`custodes.ledger.redacting.withdrawn_rows` tell of them.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        self.withheld: Mapping[int, Sequence[str]] = {}
        """Of a bundle's copy: row -> the fields that it lacks there."""
        self.copy_of = ""
        """Of a bundle's copy: path or URL of the ledger itself."""
        self._runs: set[str] = set()  # that are known to be there: a run never goes away

    @classmethod
    def open(cls, where: str | Path, read_only: bool = False) -> Self:
        """Open the ledger at a path or URL ("sqlite:///...", "postgresql://...").

        It is created, or brought to the current format, unless ``read_only``. Raises InputError where
        it cannot be reached, created or read, or where something else is kept there.
        """
        return cls(LedgerDatabase(where, read_only))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ runs

    def start_run(self, recipe: str, config: Mapping[str, Any], seed: int) -> str:
        """Record that ``recipe`` begins, with its configuration and what it runs on; the id of the new run."""
        first = invocation()
        name = re.sub(r"[^a-z0-9]+", "-", recipe.lower()).strip("-")[:40] or "run"
        run = f"{name}-{first['started'][:19].replace(':', '')}-{secrets.token_hex(3)}"
        entry = encode(Run(run, recipe, config, seed, "running", first["started"], None, (first,)))
        with self._database.writing() as connection:
            _append(connection, run, [_New(*entry)])
        return run

    def resume_run(self, run: str) -> Run:
        """Record that this process takes up ``run`` again, and with what; the run as it stands now.

        Of an invocation that never ended the seconds up to its last row are recorded.
        """
        again = invocation()

        def resumed(r: Run) -> Run:
            earlier = r.invocations
            if r.status == "running" and earlier:  # it was killed: what is known of it ends with its last row
                spent = max(
                    (datetime.fromisoformat(last) - datetime.fromisoformat(earlier[-1]["started"])).total_seconds(), 0.0
                )
                earlier = (*earlier[:-1], {**earlier[-1], "killed": True, "seconds": round(spent, 3)})
            return replace(r, status="running", ended=None, invocations=(*earlier, again))

        with self._database.reading() as connection:
            newest = select(log.c.at).where(log.c.run == run).order_by(log.c.seq.desc()).limit(1)
            last = connection.scalar(newest) or again["started"]
        return self._revise(run, resumed)

    def end_run(self, run: str, status: Status = "completed", spent: Mapping[str, Any] | None = None) -> Run:
        """Record how ``run`` ended: "completed", "failed" or "interrupted"; ``spent`` joins its last invocation."""
        if status not in get_args(Status) or status == "running":
            raise InputError(f"a run cannot end as {status!r}; say completed, failed or interrupted.")

        def ended(r: Run) -> Run:
            last = {**r.invocations[-1], "ended": now(), **(spent or {})}
            return replace(r, status=status, ended=last["ended"], invocations=(*r.invocations[:-1], last))

        return self._revise(run, ended)

    def _revise(self, run: str, change: Callable[[Run], Run]) -> Run:
        with self._database.writing() as connection:
            seq, entry = _latest(connection, run, "run", run)
            revised = change(decode(entry))
            _append(connection, run, [_New(*encode(revised), seq)])
        return revised

    # ------------------------------------------------------------ writing

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction in which no other writer can come between, durable when the block has ended.

        For tables that are kept beside the log in the same database: what :meth:`write` is given this connection for
        is committed with them, or not at all.
        """
        with self._database.writing() as connection:
            yield connection

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """A durable transaction for single statements on tables beside the log; in PostgreSQL it waits for no writer.

        What it read may have changed by the time it writes: say in the statement itself what must still be so.
        """
        with self._database.beside() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the log, and of tables kept beside it, throughout."""
        with self._database.reading() as connection:
            yield connection

    def write(
        self,
        run: str,
        records: Iterable[Record],
        supersedes: str | None = None,
        connection: Connection | None = None,
    ) -> list[str]:
        """Append ``records`` to ``run``, all or none; their keys, once they are safe on disk.

        A key is the record's id (of a score: scorer and episode). Writing a record again is quietly ignored,
        so an interrupted run can repeat its last step. ``supersedes`` is the key of the earlier record
        that the one record given takes the place of; both may have the same key. ``connection``, from
        :meth:`writing`, makes this a part of a transaction under way: then nothing is safe before that ends.

        Raises InputError on another record under a key that was used, on a key to supersede that is not
        there or was superseded, on what cannot be recorded, and on a full disk.
        """
        entries = [encode(record) for record in records]
        if supersedes is not None and len(entries) != 1:
            raise InputError(f"{len(entries)} records cannot supersede {supersedes!r}; write the one that does.")
        with self.writing() if connection is None else nullcontext(connection) as own:
            if run not in self._runs:
                _require_run(own, run)
                self._runs.add(run)
            if supersedes is None:
                new = _unrecorded(own, run, entries)
            else:
                new = _superseding(own, run, entries[0], supersedes)
            _append(own, run, new)
        return [entry.key for entry in entries]

    def rewrite(self, bodies: Mapping[int, str], redactions: Mapping[str, Redaction]) -> None:
        """Put ``bodies`` (row -> what is left of it) in the place of what they were, and a redaction into each run.

        For :func:`custodes.ledger.redacting.redact` alone; :meth:`wipe` then takes what was there off the disk.
        """
        with self._database.rewriting() as connection:
            for seq, body in bodies.items():
                connection.execute(update(log).where(log.c.seq == seq).values(body=body))
            for run, redaction in redactions.items():
                _append(connection, run, [_New(*encode(redaction))])

    def wipe(self) -> str | None:
        """Take what was rewritten off the disk; a sentence where another process keeps that from happening."""
        return self._database.wipe()

    # ------------------------------------------------------------ reading

    def runs(self, history: bool = False) -> list[Run]:
        """Every run, oldest first. ``history`` shows each as it was at its start, at each resume and at its end."""
        return list(self._read("run", None, history))

    def tasks(self, run: str, history: bool = False) -> Iterator[Task]:
        return self._read("task", run, history)

    def episodes(self, run: str, policy: str | None = None, history: bool = False) -> Iterator[Episode]:
        """The episodes, or those of one policy version."""
        return (e for e in self._read("episode", run, history) if policy is None or e.policy == policy)

    def judgments(self, run: str, history: bool = False) -> Iterator[Judgment]:
        return self._read("judgment", run, history)

    def annotators(self, run: str, history: bool = False) -> Iterator[Annotator]:
        return self._read("annotator", run, history)

    def models(self, run: str, history: bool = False) -> Iterator[Model]:
        return self._read("model", run, history)

    def scores(self, run: str, scorer: str | None = None, history: bool = False) -> Iterator[ScoreRow]:
        """The scores, or those of one scorer."""
        return (s for s in self._read("score", run, history) if scorer is None or s.scorer == scorer)

    def evaluations(self, run: str, name: str | None = None, history: bool = False) -> Iterator[Evaluation]:
        """The evaluations, or those of one name."""
        return (e for e in self._read("evaluation", run, history) if name is None or e.name == name)

    def decisions(self, run: str, history: bool = False) -> Iterator[Decision]:
        return self._read("decision", run, history)

    def redactions(self) -> list[tuple[int, str, str, Redaction]]:
        """(row, time, run, what was withdrawn), in the order of the rows."""
        query = select(log.c.seq, log.c.at, log.c.run, log.c.key, log.c.body).where(log.c.kind == "redaction")
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(log.c.seq)).all()
        return [(seq, at, run, decode(Entry("redaction", key, body))) for seq, at, run, key, body in rows]

    def artefacts(self) -> list[tuple[int, str, Artefact]]:
        """(row, run, file or block) of everything that any run recorded of files, in the order of the rows."""
        found = []
        with self._database.reading() as connection:
            runs = connection.scalars(select(log.c.key).where(log.c.kind == "run").distinct()).all()
            for run in runs:  # run by run: that is how the log is indexed
                query = select(log.c.seq, log.c.key, log.c.body).where(log.c.run == run, log.c.kind == "artefact")
                found += [
                    (seq, run, decode(Entry("artefact", key, body))) for seq, key, body in connection.execute(query)
                ]
        return sorted(found, key=lambda row: row[0])

    def rows(self, run: str, kind: str) -> Iterator[tuple[int, str, Any]]:
        """(number of the row, its hash, record) of every record of a kind: "run", "judgment", "evaluation" ...

        Superseded ones are left out.
        """
        with self._database.reading() as connection:
            _require_run(connection, run)
            upto = connection.scalar(select(head.c.rows)) or 0
        return self._pages(kind, run, False, upto)

    def summary(self, run: str) -> dict[str, int]:
        """How many records ``run`` holds of each kind that it has, superseded ones left out.

        Judgments are counted in all ("judgment") and by type ("comparison", "rating", ...).
        """
        with self._database.reading() as connection:
            _require_run(connection, run)
            kinds = select(log.c.kind, func.count()).where(log.c.run == run, _live()).group_by(log.c.kind)
            types = text("SELECT type, count(*) FROM judgments WHERE run = :run GROUP BY type")
            rows = [*connection.execute(kinds), *connection.execute(types, {"run": run})]
        return {name: count for name, count in sorted(rows) if name not in ("run", "artefact", "redaction")}

    def _read(self, kind: str, run: str | None, history: bool) -> Iterator[Any]:
        """Records of one kind. The log only grows, so its length now fixes what is seen."""
        with self._database.reading() as connection:
            if run is not None:
                _require_run(connection, run)
            upto = connection.scalar(select(head.c.rows)) or 0
        return (record for _, _, record in self._pages(kind, run, history, upto))

    def _pages(self, kind: str, run: str | None, history: bool, upto: int) -> Iterator[tuple[int, str, Any]]:
        query = select(log.c.seq, log.c.hash, log.c.kind, log.c.key, log.c.body).where(
            log.c.kind == kind, log.c.seq <= upto
        )
        if run is not None:
            query = query.where(log.c.run == run)
        if not history:
            query = query.where(_live(upto))
        seq = 0
        while seq < upto:
            with self._database.reading() as connection:
                rows = connection.execute(query.where(log.c.seq > seq).order_by(log.c.seq).limit(PAGE)).all()
            for row in rows:
                if (record := decode(Entry(*row[2:]))) is not None:
                    yield row.seq, row.hash, record
            seq = rows[-1].seq if len(rows) == PAGE else upto

    # ------------------------------------------------------------ checking

    @property
    def name(self) -> str:
        """Path or URL, without a password."""
        return self._database.name

    def head(self, root: bool = False) -> Head:
        """How far the log has come: what to keep elsewhere. With ``root`` also that of the Merkle tree, which reads all rows."""
        roots: dict[int, str] = {}
        with self._database.reading() as connection:
            rows, last = connection.execute(select(head.c.rows, head.c.hash)).first() or (0, GENESIS)
            origin = connection.scalar(select(log.c.hash).where(log.c.seq == 1)) or GENESIS
            if root:
                roots = merkle_roots(connection.scalars(select(log.c.hash).order_by(log.c.seq)), [rows])
        where = self.copy_of or (self.name if "://" in self.name else str(Path(self.name).resolve()))
        return Head(now(), where, origin, rows, last, roots.get(rows, ""))

    def roots(self, sizes: Collection[int]) -> dict[int, str]:
        """Rows -> root of the Merkle tree over so many of the first."""
        with self._database.reading() as connection:
            return merkle_roots(connection.scalars(select(log.c.hash).order_by(log.c.seq)), sizes)

    def row_of(self, hash: str) -> int | None:
        """Number of the row that has this hash, 0 for the hash before the first; None where there is none."""
        if hash == GENESIS:
            return 0
        with self._database.reading() as connection:
            return connection.scalar(select(log.c.seq).where(log.c.hash == hash).limit(1))

    def holds(self, seq: int, hash: str) -> bool:
        """Whether row ``seq`` has this hash."""
        if seq == 0:
            return hash == GENESIS
        with self._database.reading() as connection:
            return connection.scalar(select(log.c.hash).where(log.c.seq == seq)) == hash

    def verify(self) -> Verification:
        """Recompute every hash: nothing was edited, removed, inserted or reordered, or what and where.

        A trigger that is missing or changed is a problem too. What lacks in a row must have been withdrawn by another
        row, or be :attr:`withheld`.
        """
        checked = 0

        def counted(rows: Iterable[Any]) -> Iterator[ChainRow]:
            nonlocal checked
            for checked, row in enumerate(rows):  # noqa: B007 (how many were good when the file breaks off)
                yield ChainRow(*row)

        try:
            with self._database.reading() as connection:
                tip = connection.execute(select(head.c.rows, head.c.hash)).first()
                rows = connection.execution_options(yield_per=PAGE).execute(select(log).order_by(log.c.seq))
                found = verify_chain(counted(rows), tip and (tip.rows, tip.hash), self.withheld)
                problems = [problem for problem in (found.problem, trigger_problem(connection)) if problem]
                return replace(found, ok=not problems, problem=" ".join(problems) or None)
        except InputError as error:  # the file itself is damaged
            return Verification(False, checked, str(error))


def verify_ledger(where: str | Path) -> Verification:
    """Verify the ledger at a path or URL, changing nothing. Raises InputError if there is none."""
    with Ledger.open(where, read_only=True) as ledger:
        return ledger.verify()


class _New(NamedTuple):
    """A row to append."""

    kind: str
    key: str
    body: str
    supersedes: int | None = None


def _append(connection: Connection, run: str, new: list[_New]) -> None:
    """Chain ``new`` to the end of the log and move the head."""
    if not new:
        return
    seq, previous = connection.execute(select(head.c.rows, head.c.hash)).one()
    at, rows = now(), []
    for entry in new:
        seq += 1
        columns = (seq, at, run, entry.kind, entry.key, seal(entry.body), entry.supersedes, previous)
        previous = hash_row(*columns)
        rows.append((*columns, previous))
    # Straight to the driver: building a dictionary per row takes longer than SQLite's own work.
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(ChainRow._fields))
    connection.exec_driver_sql(f"INSERT INTO log ({', '.join(ChainRow._fields)}) VALUES ({marks})", rows)
    connection.execute(update(head).values(rows=seq, hash=previous))


def _unrecorded(connection: Connection, run: str, entries: list[Entry]) -> list[_New]:
    """``entries`` less those that the run already holds. Raises InputError on a key that says something else."""
    wanted: dict[tuple[str, str], str] = {}
    for kind, key, body in entries:
        if not is_same(wanted.setdefault((kind, key), body), body):
            raise InputError(f"two different records of kind {kind} have the id {key!r} in one write.")
    held: dict[tuple[str, str], list[str]] = {}
    for kind in sorted({kind for kind, _ in wanted}):
        keys = [key for k, key in wanted if k == kind]
        for start in range(0, len(keys), PAGE):
            some = log.c.key.in_(keys[start : start + PAGE])
            query = select(log.c.key, log.c.body).where(log.c.run == run, log.c.kind == kind, some)
            for key, body in connection.execute(query):
                held.setdefault((kind, key), []).append(body)
    for (kind, key), bodies in held.items():
        if not any(is_same(body, wanted[kind, key]) for body in bodies):
            raise InputError(
                f"{kind} {key!r} is already recorded in run {run} and says something else; "
                "nothing is edited here, so write the new one with supersedes."
            )
    return [_New(kind, key, body) for (kind, key), body in wanted.items() if (kind, key) not in held]


def _superseding(connection: Connection, run: str, entry: Entry, supersedes: str) -> list[_New]:
    """The row that takes the place of the one with key ``supersedes``; none if that was done before."""
    seq, earlier = _latest(connection, run, entry.kind, supersedes)
    if supersedes == entry.key and is_same(earlier.body, entry.body):
        return []
    later = connection.execute(select(log.c.key, log.c.body).where(log.c.supersedes == seq)).first()
    if later and later.key == entry.key and is_same(later.body, entry.body):
        return []
    if later:
        raise InputError(f"{entry.kind} {supersedes!r} was already superseded by {later.key!r}; supersede that one.")
    if supersedes != entry.key and not _unrecorded(connection, run, [entry]):
        raise InputError(f"{entry.kind} {entry.key!r} is already recorded and did not supersede {supersedes!r} then.")
    return [_New(*entry, seq)]


def _latest(connection: Connection, run: str, kind: str, key: str) -> tuple[int, Entry]:
    """seq and contents of the newest row with ``key``. Raises InputError if there is none."""
    query = select(log.c.seq, log.c.body).where(log.c.run == run, log.c.kind == kind, log.c.key == key)
    row = connection.execute(query.order_by(log.c.seq.desc()).limit(1)).first()
    if row is None and kind == "run":
        raise InputError(f"run {run!r} is not in this ledger; give the id that start_run returned.")
    if row is None:
        raise InputError(f"{kind} {key!r} is not in run {run}, so nothing can supersede it.")
    return row.seq, Entry(kind, key, row.body)


def _require_run(connection: Connection, run: str) -> None:
    _latest(connection, run, "run", run)


def _live(upto: int | None = None) -> ColumnElement[bool]:
    """That no row (no row up to number ``upto``) supersedes this one."""
    later = log.alias("later")
    superseded = select(later.c.seq).where(later.c.supersedes == log.c.seq)
    return ~exists(superseded if upto is None else superseded.where(later.c.seq <= upto))
