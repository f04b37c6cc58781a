"""Files that a record rests on: hashed into the chain, block by block, and compared with what is on the disk.

A file of lines is hashed in blocks that end with a line, so that what was edited is named by its lines, and so that a
file which grows needs each byte hashed once. Paths are kept relative to the ledger's folder: both may be moved together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from custodes.digests import digest
from custodes.ledger.ledger import Ledger
from custodes.ledger.records import Artefact
from custodes.types import InputError

ArtefactRole = Literal["output", "input", "checkpoint"]


@dataclass(slots=True)
class Version:
    """The latest version of a file, as the ledger holds it."""

    path: str
    role: ArtefactRole
    blocks: list[tuple[int, str, Artefact]]  # (row, run, block), each beginning where the one before ends

    @property
    def end(self) -> int:
        return self.blocks[-1][2].end

    @property
    def last_line(self) -> int:
        return self.blocks[-1][2].last_line

    def digests(self) -> list[tuple[str, int, int]]:
        return [(block.sha256, block.start, block.end) for _, _, block in self.blocks]


class Files:
    """What a ledger knows of files; nothing yet where it is not ``read``."""

    def __init__(self, ledger: Ledger, read: bool = True) -> None:
        self.folder = None if "://" in ledger.name else Path(ledger.name).resolve().parent
        self.versions: dict[str, Version] = {}  # as they were written
        self.inputs: dict[str, Version] = {}  # as they were read
        for seq, run, artefact in ledger.artefacts() if read else ():
            self.add(seq, run, artefact)

    def add(self, seq: int, run: str, artefact: Artefact) -> None:
        known = self.inputs if artefact.role == "input" else self.versions
        version = known.get(artefact.path)
        if version is not None and artefact.start and artefact.start == version.end:
            version.blocks.append((seq, run, artefact))
        else:
            known[artefact.path] = Version(artefact.path, artefact.role, [(seq, run, artefact)])

    def name(self, path: Path) -> str:
        """How the ledger calls a file."""
        whole = path.resolve()
        if self.folder is not None and whole.is_relative_to(self.folder):
            return whole.relative_to(self.folder).as_posix()
        return str(whole)

    def place(self, name: str) -> Path:
        """Where a file that the ledger calls so is."""
        return Path(name) if self.folder is None else self.folder / name

    def within(self, path: Path) -> list[Version]:
        """The known files at ``path`` or below it."""
        name = self.name(path)
        below = "" if name == "." else name + "/"
        return [v for v in self.versions.values() if v.path == name or v.path.startswith(below)]

    def is_as_recorded(self, version: Version) -> bool:
        return self.problem(version) is None and self.added(version) is None

    def problem(self, version: Version) -> str | None:
        """A sentence that says what is not as it was recorded; None where all of it is. What was added is none."""
        path = self.place(version.path)
        try:
            size = path.stat().st_size
            wrong = [block for block in version.blocks if digest(path, block[2].start, block[2].end) != block[2].sha256]
        except OSError as error:
            return f"{path} cannot be read ({error.strerror}); row {version.blocks[0][0]:,} of the ledger recorded it."
        if not wrong:
            return None
        (row, _, first), (_, _, last) = wrong[0], wrong[-1]
        if size < version.end and size <= first.end:
            return (
                f"{path} was edited or cut: it has {size:,} of the {version.end:,} bytes that were recorded"
                + (f"; lines from {first.first_line:,} on are missing or changed" if first.first_line else "")
                + f" (row {row:,} of the ledger)."
            )
        if first.first_line:
            where = f"in lines {first.first_line:,} to {last.last_line:,}"
        elif len(version.blocks) > 1:
            where = f"in bytes {first.start:,} to {last.end:,}"
        else:
            where = "since"
        return f"{path} was edited {where}: it is not what row {row:,} of the ledger recorded."

    def added(self, version: Version) -> str | None:
        """A sentence about what stands in a file after all that was recorded; None where nothing does."""
        path = self.place(version.path)
        size = path.stat().st_size if path.is_file() else 0
        if size <= version.end:
            return None
        after = f", after line {version.last_line:,}" if version.last_line else ""
        return f"{path} has {size - version.end:,} bytes more than were recorded{after}."


def check_files(ledger: Ledger, reading: bool = False) -> tuple[list[str], list[str]]:
    """(problems, notes): files that are not as they were recorded, and what else is to be said of them.

    An output that is gone, edited, cut or longer is a problem; so is an edited input of a run that wrote outputs. What
    follows the last block of a run that did not end is a note: it was killed, or is at work. ``reading`` leaves
    out reports, which are written from the ledger and from other files.
    """
    files, problems, notes = Files(ledger), [], []
    gone = {name: (seq, at, r) for seq, at, _, r in ledger.redactions() for name in r.files}
    status = {run.id: run.status for run in ledger.runs()}
    wrote = {run for version in files.versions.values() for _, run, _ in version.blocks}
    for version in files.versions.values():
        path = files.place(version.path)
        if reading and path.name in WRITTEN_AGAIN:
            continue
        if version.path in gone and gone[version.path][0] > version.blocks[-1][0]:
            seq, at, redaction = gone[version.path]
            if path.exists():
                problems.append(f"{path} is here still, though row {seq:,} of the ledger says that it was withdrawn.")
            else:
                notes.append(
                    f"{path} was withdrawn on {at[:10]} by {redaction.who}; its digest is in row {version.blocks[0][0]:,}."
                )
        elif not path.exists():
            if version.role == "output":
                problems.append(f"{path} is missing; row {version.blocks[0][0]:,} of the ledger recorded it.")
        elif (problem := files.problem(version)) is not None:
            problems.append(problem)
        elif (more := files.added(version)) is not None:
            if status.get(version.blocks[-1][1]) == "running":
                notes.append(f"{more[:-1]}: the run was killed, or is at work.")
            else:
                problems.append(more)
    for read in files.inputs.values():
        path, later = files.place(read.path), files.versions.get(read.path)
        if later is not None and later.blocks[0][0] > read.blocks[0][0]:
            continue  # it was written again since, which is recorded
        if not path.exists():
            notes.append(f"{path}, which was read, is not here; it cannot be compared.")
        elif not files.is_as_recorded(read):
            sentence = files.problem(read) or files.added(read) or ""
            (problems if read.blocks[-1][1] in wrote else notes).append(sentence)
    return problems, notes


WRITTEN_AGAIN = frozenset((
    *("report.html", "report.json", "summary.json", "monitors.json", "monitors.html"),
    *("disclosure.html", "disclosure.json", "MODEL_CARD.md", "croissant.json", "bom.cdx.json", "facts.template.yaml"),
    *("MODEL_DOCUMENTATION_FORM.md", "TRAINING_CONTENT_SUMMARY.md"),
))  # fmt: skip
"""Names of files that are written from others whenever the command runs again."""


def require_unchanged(folder: Path) -> None:
    """Raises InputError that names the file of a run's folder which is not as the folder's ledger recorded it."""
    where = folder / "ledger.db"
    if where.is_file():
        with Ledger.open(where, read_only=True) as ledger:
            require_files(ledger)


def require_files(ledger: Ledger) -> None:
    """Raises InputError that names the first file which is not as ``ledger`` recorded it; reports apart."""
    problems, _ = check_files(ledger, reading=True)
    if problems:
        raise InputError(
            f"{problems[0]} A report would tell of something else than what happened; custodes verify names all."
        )
