"""Every command is a run in a ledger: what it read and wrote, its options, its cost, and how it ended.

The ledger is ``ledger.db`` in the folder of what is written. A command that writes no file of its own is recorded in
``.custodes/ledger.db`` of the folder it is called in or of one above it, where there is such a folder, and else in the
person's own ledger (``~/.local/state/custodes/ledger.db``). ``--ledger WHERE`` names another, ``--ledger none`` none.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from custodes.job import recording
from custodes.job.invocation import Invocation, reads, under_way
from custodes.job.options import Use, uses_of
from custodes.types import InputError

VARIABLE, HEADS = "CUSTODES_LEDGER", "CUSTODES_HEAD_FILE"


def take_flag(given: list[str], flag: str, what: str = "value") -> tuple[str | None, list[str]]:
    """What follows a flag that every command has, and the words without both. Raises InputError where nothing follows."""
    for i, word in enumerate(given):
        if word == flag:
            if i + 1 == len(given):
                raise InputError(f"{flag} needs a {what} after it.")
            return given[i + 1], given[:i] + given[i + 2 :]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "="), given[:i] + given[i + 1 :]
    return None, given


@contextmanager
def recorded_command(
    name: str, options: Any, ledger: str | None, head_file: str | None, config_file: Path | None
) -> Iterator[Invocation]:
    """Record the command that runs in the block, and print the heads of the ledgers that were written."""
    folder, outputs = _places(options)
    asked = ledger or os.environ.get(VARIABLE)
    where: str | Path = asked or (_default_ledger() if folder is None else folder / "ledger.db")
    personal = folder is None and not asked
    if personal and isinstance(where, Path):  # it holds what was asked of whom
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = Invocation(
        name,
        None if where == "none" else where,
        json.loads(json.dumps(asdict(options), default=str)),
        int(getattr(options, "seed", 0) or 0),
        folder=folder,
        named=ledger is not None,
        compare=not personal,
    )

    def end(status: Any) -> None:
        beside = (sorted(path.parent.glob(path.name + ".*")) for path in outputs if not path.is_dir())
        try:
            command.end(status, [*outputs, *(file for files in beside for file in files if file.is_file())])
        except InputError as error:
            if not personal:
                raise
            print(f"Note: this command is not recorded: {error}", file=sys.stderr)
        if status != "failed":
            for place in dict.fromkeys(recording.written):
                _tell_head(place, head_file or os.environ.get(HEADS), command)

    recording.written.clear()
    with under_way(command):
        try:
            if where != "none" or ledger is None:
                reads(*_inputs(options, outputs), *([config_file] if config_file else []))
            yield command
        except BaseException as error:
            with recording.never_hiding(error):
                end(recording.ended_by(error))
            raise
        end("completed")


def _places(options: Any) -> tuple[Path | None, list[Path]]:
    """The folder of what is written (None: nothing of the command's own is), and what is written."""
    written = {Use.OUTPUT: list[Path](), Use.SIDE_OUTPUT: list[Path]()}
    for name, use in uses_of(type(options)).items():
        if use in written and isinstance(value := getattr(options, name), Path):
            written[use].append(value)
    outputs = [*written[Use.OUTPUT], *written[Use.SIDE_OUTPUT]]
    for main in written[Use.OUTPUT][:1]:
        return main if main.is_dir() or not (main.exists() or main.suffix) else main.parent, outputs
    return None, outputs


def _inputs(options: Any, outputs: list[Path]) -> Iterator[Path]:
    """Files and folders among the options that are there and are read."""
    for name, use in uses_of(type(options)).items():
        value = getattr(options, name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _inputs(value, outputs)
        elif use in (None, Use.MEANS):
            for word in value if isinstance(value, tuple) else (value,):
                named = isinstance(word, Path) or (isinstance(word, str) and ("/" in word or "." in word))
                if named and Path(word) not in outputs and os.path.exists(word) and Path(word).suffix != ".db":
                    yield Path(word)


def _default_ledger() -> Path:
    """Of a command that writes no file of its own."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".custodes").is_dir():
            return folder / ".custodes" / "ledger.db"
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "custodes" / "ledger.db"


def _tell_head(where: str, head_file: str | None, invocation: Invocation) -> None:
    """Print the head, and keep it in the head file, signed where there is a key."""
    from custodes.ledger import Ledger
    from custodes.ledger.heads import append_head, configured_key, read_private_key, sign_head

    own = invocation.recording
    if own is not None and own.ledger.name == where:
        head = own.ledger.head(root=head_file is not None)
    else:
        with Ledger.open(where, read_only=True) as ledger:
            head = ledger.head(root=head_file is not None)
    signed = ""
    if head_file is not None:
        key = configured_key()
        if key is not None:
            head, signed = sign_head(head, read_private_key(key)), ", signed"
        append_head(Path(head_file), head)
        signed += f", kept in {head_file}"
    print(f"Ledger {where}: {head.rows:,} rows, head {head.head}{signed}.", file=sys.stderr)
