"""A bundle: a ledger, the files that it hashes and its report, in one folder or archive that stands alone.

``bundle.json`` says what is where and what is withheld. A withheld file or field is known by its digests, which the chain
vouches for. :func:`check_bundle` needs nothing else, and no model.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update

from custodes.digests import digest
from custodes.files import save_json
from custodes.ledger.artefacts import Files, Version
from custodes.ledger.chain import ChainRow
from custodes.ledger.checking import Checked, check_opened
from custodes.ledger.database import LedgerDatabase
from custodes.ledger.heads import Head, is_signed_by, read_public_key
from custodes.ledger.ledger import PAGE, Ledger
from custodes.ledger.redacting import is_within, strings_in
from custodes.ledger.schema import head as head_table
from custodes.ledger.schema import log
from custodes.ledger.sealing import is_of_first_format, leaves, shown_path, withdraw
from custodes.types import InputError

MANIFEST, LEDGER, FORM = "bundle.json", "ledger.db", "custodes bundle 1"

WEIGHTS = frozenset((".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz"))
"""Endings of files that hold weights. Every checkpoint counts as weights too."""


def copy_ledger(
    ledger: Ledger, target: Path, withhold: Mapping[str, Sequence[str]]
) -> tuple[dict[int, list[str]], set[str]]:
    """Copy the rows to a new SQLite file without the fields to ``withhold`` (kind -> fields).

    Returns what each row lacks there, and the texts that it lacks. Hashes stay, so a head of the ledger is a head of the
    copy. Raises InputError for a field that no row has, and for a row of format 0001 that is to lack something, since
    nobody could check the rest of it.
    """
    lacks, texts = dict[int, list[str]](), set[str]()
    unused = {(kind, name) for kind, names in withhold.items() for name in names}

    def copied(row: ChainRow) -> dict[str, Any]:
        fields = withhold.get(row.kind, ())
        held = [(p, v) for p, v in leaves(row.body) if is_within(shown_path(p), fields)] if fields else []
        if held:
            texts.update(said for _, value in held for said in strings_in(json.loads(value)))
            lacks[row.seq] = [shown_path(path) for path, _ in held]
            unused.difference_update((row.kind, f) for f in fields for name in lacks[row.seq] if is_within(name, [f]))
            row = row._replace(body=withdraw(row.body, [path for path, _ in held]))
            if is_of_first_format(row.body):
                raise InputError(f"row {row.seq} is of ledger format 0001, which can only be shown whole.")
        return row._asdict()

    database = LedgerDatabase(target)
    with ledger.reading() as source, database.writing() as connection:
        tip = source.execute(select(head_table.c.rows, head_table.c.hash)).one()
        rows = source.execution_options(yield_per=PAGE).execute(select(log).order_by(log.c.seq))
        for page in rows.partitions(PAGE):
            connection.execute(insert(log), [copied(ChainRow(*row)) for row in page])
        connection.execute(update(head_table).values(rows=tip.rows, hash=tip.hash))
    database.settle()
    if unused:
        raise InputError(f"no row of {ledger.name} has a field {'.'.join(min(unused))}, so it cannot be withheld.")
    return lacks, texts


def _is_weights(version: Version) -> bool:
    return version.role == "checkpoint" or PurePosixPath(version.path).suffix in WEIGHTS


def _place_of(number: int, name: str) -> str:
    """Where a file is in a bundle: under its own name where that is relative and stays inside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"files/elsewhere/{number}-{path.name}"
    return f"files/{name}"


def plan_files(files: Files, weights: bool, withhold: Sequence[str]) -> Iterator[tuple[Version, str, str]]:
    """(file, its place in the bundle or "", why it is not there or "") of everything that the ledger hashed."""
    everything = list({**files.inputs, **files.versions}.values())
    if unused := [p for p in withhold if not any(fnmatch(version.path, p) for version in everything)]:
        names = ", ".join(sorted(version.path for version in everything)[:3])
        raise InputError(
            f"--withhold-file {unused[0]} matches no file of the ledger; it has hashed {names or 'none'}, for example."
        )
    for number, version in enumerate(everything):
        if any(fnmatch(version.path, pattern) for pattern in withhold):
            yield version, "", "withheld"
        elif not weights and _is_weights(version):
            yield version, "", "withheld: weights"
        elif not files.place(version.path).is_file():
            yield version, "", "absent when the bundle was made"
        else:
            yield version, _place_of(number, version.path), ""


def write_manifest(
    folder: Path,
    head: Head,
    files: Mapping[str, Mapping[str, str]],
    lacks: Mapping[int, list[str]],
    report: Sequence[Path],
) -> None:
    """Say what the bundle in ``folder`` holds; ``report`` are the files of its report."""
    hashed = {path.relative_to(folder).as_posix(): digest(path, 0, path.stat().st_size) for path in report}
    told = {"form": FORM, "head": asdict(head), "files": files, "withheld": lacks, "report": hashed}
    save_json(folder / MANIFEST, told)


def is_bundle(where: str) -> bool:
    """Whether a path is a bundle's folder or archive."""
    path = Path(where)
    return "://" not in where and ((path / MANIFEST).is_file() or (path.is_file() and zipfile.is_zipfile(path)))


@contextmanager
def _opened_bundle(where: Path) -> Iterator[Path]:
    """The folder of a bundle; an archive is unpacked for as long as the block lasts. Raises InputError for a broken one."""
    if where.is_dir():
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="custodes-bundle-") as folder:
        try:
            with zipfile.ZipFile(where) as archive:
                archive.extractall(folder)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise InputError(f"{where} cannot be unpacked: {error}.") from None
        yield Path(folder)


class BundledFiles(Files):
    """What the ledger of a bundle knows of files, and where they are in the bundle."""

    def __init__(self, ledger: Ledger, folder: Path, files: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(ledger)
        self.root, self.told = folder, files

    def place(self, name: str) -> Path:
        return self.root / (self.told.get(name, {}).get("place") or _place_of(0, name))


class _Manifest(NamedTuple):
    """What a bundle says of itself."""

    head: Head
    files: dict[str, dict[str, str]]  # name of a file -> its place, or why it is not there
    withheld: dict[int, list[str]]  # row -> the fields that it lacks
    report: dict[str, str]  # place -> SHA-256


def _read_manifest(folder: Path, named: Path) -> _Manifest:
    """Raises InputError, which names the bundle as the user does, where it is missing or none."""
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["form"] != FORM:
            raise ValueError("another form")
        places = [PurePosixPath(file.get("place", "")) for file in told["files"].values()]
        places += map(PurePosixPath, told["report"])
        if any(place.is_absolute() or ".." in place.parts for place in places):
            raise ValueError("a file outside the bundle")
        lacks = {int(seq): list(fields) for seq, fields in told["withheld"].items()}
        return _Manifest(Head(**told["head"]), told["files"], lacks, told["report"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{named} is no bundle: its {MANIFEST} does not say what it holds ({reason}); custodes audit bundle writes one."
        ) from None


def _check_files(ledger: Ledger, files: BundledFiles) -> tuple[list[str], list[str]]:
    """(problems, notes): every file that the ledger hashed is here as it was, or is told to be withheld, or is a problem."""
    problems, notes, withheld = list[str](), list[str](), list[str]()
    gone = {name for _, _, _, redaction in ledger.redactions() for name in redaction.files}
    for version in {**files.inputs, **files.versions}.values():
        told, row = files.told.get(version.path, {}), version.blocks[0][0]
        if version.path in gone:
            notes.append(f"{version.path} was withdrawn; its digest is in row {row:,}.")
        elif why := told.get("why"):
            one = version.blocks[0][2].sha256 if len(version.blocks) == 1 else f"{len(version.blocks)} digests"
            withheld.append(f"{version.path}: {why}, {version.end:,} bytes, SHA-256 {one} (row {row:,}).")
        elif not files.place(version.path).is_file():
            problems.append(f"{version.path} is missing from the bundle; row {row:,} of the ledger recorded it.")
        elif problem := files.problem(version) or files.added(version):
            problems.append(problem.replace(f"{files.root}/", ""))
    return problems, notes + withheld


def check_bundle(
    where: Path,
    *,
    head: str = "",
    head_file: Path | None = None,
    public_key: Path | None = None,
    time_roots: Path | None = None,
) -> Checked:
    """Check a bundle by itself: chain, files, report and head. Raises InputError where it is none, or has no ledger."""
    with _opened_bundle(where) as folder:
        told = _read_manifest(folder, where)
        with Ledger.open(folder / LEDGER, read_only=True) as ledger:
            ledger.withheld, ledger.copy_of = told.withheld, told.head.ledger
            found = check_opened(
                ledger, head, head_file, public_key if head_file else None, time_roots if head_file else None
            )
            problems, notes = _check_files(ledger, BundledFiles(ledger, folder, told.files))
            found.problems += problems
            found.notes += notes
            kept = told.head
            if not ledger.holds(kept.rows, kept.head) or ledger.roots([kept.rows]).get(kept.rows) != kept.root:
                found.problems.append(f"{MANIFEST} says another head than the ledger in the bundle has.")
        if public_key is not None and not is_signed_by(told.head, read_public_key(public_key)):
            found.problems.append(f"the head in {MANIFEST} is not signed by {public_key}.")
        for place, sha256 in told.report.items():
            path = folder / place
            if not path.is_file():
                found.problems.append(f"{place} is missing from the bundle.")
            elif digest(path, 0, path.stat().st_size) != sha256:
                found.problems.append(f"{place} was edited since the bundle was made.")
    return found
