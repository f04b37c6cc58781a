"""Checkpoints that survive being killed at any moment.

A checkpoint is a folder that appears by one rename once all of it is on disk, with a checksum inside.
The last two are kept; where the newest cannot be read, the one before is used, and that is said. In a run that is
recorded, a checkpoint names the row of the ledger that it follows, and the ledger its hash: a hole between the two is said.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from custodes.digests import HashedBlock
from custodes.files import folder_written_whole, save_json, save_text
from custodes.job.recording import current
from custodes.types import InputError

KEPT = 2
STATE, CHECKSUM, FOLLOWS = "state.pt", "sha256", "follows.json"


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` (tensors and plain values) as the checkpoint after ``step`` steps; returns its folder.

    Raises InputError where the disk is full or read-only; earlier checkpoints stay.
    """
    final, recording = folder / f"step-{step:06d}", current()
    try:
        with folder_written_whole(final) as partial:
            with _interrupts_wait(), (partial / STATE).open("wb") as file:
                writer = _Hashing(file)
                torch.save(state, cast(BinaryIO, writer))
            save_text(partial / CHECKSUM, writer.digest.hexdigest())
            if recording is not None:
                save_json(partial / FOLLOWS, recording.position(), indent=None)
        if recording is not None:
            state_file, size = final / STATE, (final / STATE).stat().st_size
            recording.keep_blocks(state_file, [HashedBlock(writer.digest.hexdigest(), 0, size)], "checkpoint")
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        kept = checkpoints(folder)
        raise InputError(
            f"checkpoint {final} cannot be written ({str(error).splitlines()[0]}); "
            + (f"the last good one is {kept[-1]}; " if kept else "there is none yet; ")
            + "free space or choose another folder."
        ) from error
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], Path, list[str]] | None:
    """The newest checkpoint that is whole: its state, its folder, and a sentence for each that was passed over.

    None where there is no checkpoint; raises InputError where there are some and none can be read.
    """
    found = checkpoints(folder)
    passed: list[str] = []
    for path in reversed(found):
        problem = _problem(path)
        if problem is None:
            _say_hole(path)
            return torch.load(path / STATE, weights_only=True), path, passed
        passed.append(f"checkpoint {path} is damaged ({problem}); the one before it is used.")
    if found:
        raise InputError(
            f"none of the {len(found)} checkpoints in {folder} can be read; remove that folder to start again."
        )
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Folders of complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*"))


def random_states() -> dict[str, Any]:
    """The state of every global random generator, as plain values and tensors."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "python": [version, list(internal), gauss],
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Undo everything that was drawn since :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C counts from the end of the block: within ``torch.save`` it would look like a file that cannot be written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *given: held.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


def _problem(path: Path) -> str | None:
    try:
        expected = (path / CHECKSUM).read_text()
        with (path / STATE).open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return str(error)
    if actual != expected:
        return "its checksum does not match"
    recording = current()
    if recording is not None and recording.digest_of(path / STATE) not in (None, actual):
        return "it is not what the ledger recorded"
    return None


def _say_hole(path: Path) -> None:
    """Where the ledger does not hold the row that a checkpoint follows, what led there is lost."""
    recording = current()
    if recording is None or not (path / FOLLOWS).is_file():
        return
    try:
        recording.follows(path, json.loads((path / FOLLOWS).read_text()))
    except (ValueError, KeyError, TypeError):
        recording.hole(f"checkpoint {path} does not say which row of the ledger it follows", str(path))


class _Hashing:
    """A file that hashes what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()
