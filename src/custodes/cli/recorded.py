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
from custodes.job.invocation import Invocation, reads
from custodes.job.options import Use, uses_of
from custodes.types import InputError

VARIABLE, HEADS = "CUSTODES_LEDGER", "CUSTODES_HEAD_FILE"

_called: list["Called"] = []


class Called:
    """A command line on its way to a run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ledger, self.head_file = os.environ.get(VARIABLE), os.environ.get(HEADS)
        self.named = False  # whether the ledger is named on the command line
        self.recorded = False  # whether the command is a run
        self.invocation: Invocation | None = None
        self.outputs: list[Path] = []
        self.personal = False  # recorded in a ledger that nobody named


def take_options(given: list[str]) -> list[str]:
    """The command under way is a run: the words without ``--ledger`` and ``--head-file``.

    Raises InputError where one has no value.
    """
    ledger, given = _take(given, "--ledger")
    head_file, given = _take(given, "--head-file")
    for called in _called[-1:]:
        called.ledger, called.named, called.recorded = ledger or called.ledger, ledger is not None, True
        called.head_file = head_file or called.head_file
    return given


def _take(given: list[str], flag: str) -> tuple[str | None, list[str]]:
    for i, word in enumerate(given):
        if word == flag:
            if i + 1 == len(given):
                raise InputError(f"{flag} needs a value after it.")
            return given[i + 1], given[:i] + given[i + 2 :]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "="), given[:i] + given[i + 1 :]
    return None, given


def parsed(options: Any, config_file: Path | None) -> None:
    """Tell of the options of the command under way: from now on it can be recorded."""
    if not _called or not _called[-1].recorded:
        return
    called = _called[-1]
    folder, called.outputs = _places(options)
    where: str | Path | None = called.ledger or (default_ledger() if folder is None else folder / "ledger.db")
    called.personal = folder is None and not called.ledger
    if called.personal and isinstance(where, Path):  # it holds what was asked of whom
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    called.invocation = Invocation(
        called.name,
        None if where == "none" else where,
        json.loads(json.dumps(asdict(options), default=str)),
        int(getattr(options, "seed", 0) or 0),
        folder=folder,
        named=called.named,
        compare=not called.personal,
    )
    if where != "none" or not called.named:
        reads(*_inputs(options, called.outputs), *([config_file] if config_file else []))


def _places(options: Any) -> tuple[Path | None, list[Path]]:
    """The folder of what is written (None: nothing of the command's own is), and what is written."""
    written = {Use.OUTPUT: list[Path](), Use.SIDE_OUTPUT: list[Path]()}
    for name, use in uses_of(options).items():
        if use in written and isinstance(value := getattr(options, name), Path):
            written[use].append(value)
    outputs = [*written[Use.OUTPUT], *written[Use.SIDE_OUTPUT]]
    for main in written[Use.OUTPUT][:1]:
        return main if main.is_dir() or not (main.exists() or main.suffix) else main.parent, outputs
    return None, outputs


def _inputs(options: Any, outputs: list[Path]) -> Iterator[Path]:
    """Files and folders among the options that are there and are read."""
    for name, use in uses_of(options).items():
        value = getattr(options, name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _inputs(value, outputs)
        elif use in (None, Use.MEANS):
            for word in value if isinstance(value, tuple) else (value,):
                named = isinstance(word, Path) or (isinstance(word, str) and ("/" in word or "." in word))
                if named and Path(word) not in outputs and os.path.exists(word) and Path(word).suffix != ".db":
                    yield Path(word)


def default_ledger() -> Path:
    """Of a command that writes no file of its own."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".custodes").is_dir():
            return folder / ".custodes" / "ledger.db"
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "custodes" / "ledger.db"


@contextmanager
def recorded_command(name: str) -> Iterator[None]:
    """Record what runs in the block, once its options are known, and print the heads of the ledgers that were written."""
    called = Called(name)
    recording.written.clear()
    _called.append(called)
    try:
        yield
    except BaseException as error:
        if called.invocation is not None and not (isinstance(error, SystemExit) and not error.code):
            with recording.never_hiding(error):
                _end(called, recording.ended_by(error))
        raise
    else:
        if called.invocation is not None:
            _end(called, "completed")
    finally:
        _called.remove(called)
        if called.invocation is not None:
            called.invocation.close()


def _end(called: Called, status: Any) -> None:
    assert called.invocation is not None
    try:
        called.invocation.end(status, [file for path in called.outputs for file in _with_siblings(path)])
    except InputError as error:
        if not called.personal:
            raise
        print(f"Note: this command is not recorded: {error}", file=sys.stderr)
    if status != "failed":
        for where in dict.fromkeys(recording.written):
            tell_head(where, called.head_file, called.invocation)


def _with_siblings(path: Path) -> list[Path]:
    """An output, and what is written beside a file under its name."""
    if path.is_dir():
        return [path]
    return [path, *(p for p in sorted(path.parent.glob(path.name + ".*")) if p.is_file())]


def tell_head(where: str, head_file: str | None, invocation: Invocation) -> None:
    """Print the head, and keep it in the head file, signed where there is a key."""
    from custodes.ledger import Ledger
    from custodes.ledger.heads import append_head, configured_key, read_private_key, sign

    own = invocation.recording
    if own is not None and own.ledger.name == where:
        head = own.ledger.head()
    else:
        with Ledger.open(where, read_only=True) as ledger:
            head = ledger.head()
    signed = ""
    if head_file is not None:
        key = configured_key()
        if key is not None:
            head, signed = sign(head, read_private_key(key)), ", signed"
        append_head(Path(head_file), head)
        signed += f", kept in {head_file}"
    print(f"Ledger {where}: {head.rows:,} rows, head {head.head}{signed}.", file=sys.stderr)
