"""A record that stands alone: what ``custodes audit bundle`` writes."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from custodes.audit import write_report
from custodes.files import folder_written_whole, written_whole
from custodes.job.command import command, in_words
from custodes.job.progress import Progress
from custodes.job.workspace import latest_runs
from custodes.ledger import Ledger
from custodes.ledger.artefacts import Files
from custodes.ledger.bundles import LEDGER, WEIGHTS, BundledFiles, copy_ledger, plan_files, write_manifest
from custodes.ledger.codec import RECORD_KINDS
from custodes.ledger.heads import Head, configured_key, read_private_key, sign_head
from custodes.ledger.redacting import still_there
from custodes.loop.audit_report import REPORTS
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class AuditBundle:
    """Write a ledger, the files that it hashes and its report into one folder or archive, for somebody else to check."""

    ledger: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="LEDGER")]]
    """File or URL (sqlite:///..., postgresql://...)."""
    out: Path
    """An archive, FILE.zip, or a folder; neither may be there yet."""
    run: str = ""
    """Id of the run; without: the ledger's last one that recorded anything."""
    weights: bool = True
    """Take in files of weights and checkpoints; without them, their digests alone."""
    withhold: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """KIND.FIELD that no row shows, as in judgment.text or episode.task.messages; digests stay. May be repeated."""
    withhold_file: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Pattern of files that are left out, as in episodes*.jsonl; digests stay. May be repeated."""

    def __post_init__(self) -> None:
        for word in self.withhold:
            kind, _, name = word.partition(".")
            if kind not in RECORD_KINDS - {"run", "artefact", "redaction"} or not name:
                raise InputError(f"--withhold {word!r} names no field of a row; write KIND.FIELD, as in judgment.text.")


@dataclass(frozen=True)
class Bundled:
    """What a bundle holds and what not."""

    path: Path
    head: Head
    files: int
    withheld_files: dict[str, str] = field(default_factory=dict)  # name -> why it is not there
    withheld_rows: int = 0
    still: list[str] = field(default_factory=list)  # sentences: where a withheld text stands in the bundle

    @property
    def exit_code(self) -> int:
        return 1 if self.still else 0


@command(recorded=False)
def audit_bundle(config: AuditBundle) -> Bundled:
    """Write a ledger, its files and its report as one bundle.

    Raises InputError where something is there already, and for a ledger whose chain is broken.
    """
    if config.out.exists():
        raise InputError(f"{config.out} is there already; a bundle overwrites nothing, so name another --out.")
    with Ledger.open(config.ledger, read_only=True) as ledger:
        chain = ledger.verify()
        if not chain.ok:
            raise InputError(f"{config.ledger} is not bundled, since its chain is broken: {chain.problem}")
        head = ledger.head(root=True)
        if (key := configured_key()) is not None:
            head = sign_head(head, read_private_key(key))
        with _written(config.out) as folder:
            return _fill(config, ledger, head, folder)


@in_words(audit_bundle)
def _show(config: AuditBundle, made: Bundled) -> None:
    print(f"{made.path}: {made.head.rows:,} rows, {made.files:,} files, root {made.head.root}")
    for name, why in made.withheld_files.items():
        print(f"{name}: {why}; its digest is in the ledger.")
    if made.withheld_rows:
        print(f"Fields of {made.withheld_rows:,} rows are withheld; their digests are there.")
    for sentence in made.still:
        print(f"Still there: {sentence}")


def _fill(config: AuditBundle, ledger: Ledger, head: Head, folder: Path) -> Bundled:
    withhold: dict[str, list[str]] = {}
    for word in config.withhold:
        kind, _, name = word.partition(".")
        withhold.setdefault(kind, []).append(name)
    lacks, texts = copy_ledger(ledger, folder / LEDGER, withhold)
    files, told = Files(ledger), dict[str, dict[str, str]]()
    planned = list(plan_files(files, config.weights, config.withhold_file))
    with Progress() as progress:
        bar = progress.add_task("copying files", total=sum(version.end for version, place, _ in planned if place))
        for version, place, why in planned:
            told[version.path] = {"place": place} if place else {"why": why}
            if place:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files.place(version.path), folder / place)
                progress.advance(bar, version.end)
    with Ledger.open(folder / LEDGER, read_only=True) as copy:
        copy.withheld, copy.copy_of = lacks, head.ledger
        report = _report(config, copy, folder)
        still = [s.replace(f"{folder}/", "") for s in still_there(copy, BundledFiles(copy, folder, told), texts)]
    write_manifest(folder, head, told, lacks, report)
    out = {name: file["why"] for name, file in told.items() if "why" in file}
    return Bundled(config.out, head, len(told) - len(out), out, len(lacks), still)


def _report(config: AuditBundle, copy: Ledger, folder: Path) -> list[Path]:
    """The report of what the copy holds, so that it shows nothing that is withheld; none where the ledger has no run."""
    runs = [config.run] if config.run else [r.id for r in latest_runs(copy) if r.recipe not in REPORTS]
    return list(write_report(copy, runs[0], folder / "report")) if runs else []


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """A folder that becomes ``out``, or the archive ``out``, when the block ends without an error."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() != ".zip":
            with folder_written_whole(out) as folder:
                yield folder
            return
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            yield Path(temporary)
            with written_whole(out) as file, zipfile.ZipFile(file, "w") as archive:
                for path in sorted(Path(temporary).rglob("*")):
                    kind = zipfile.ZIP_STORED if path.suffix in WEIGHTS else zipfile.ZIP_DEFLATED
                    archive.write(path, path.relative_to(temporary), compress_type=kind)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}); nothing was left there.") from None
