"""A checkpoint names the row of the ledger that it follows: what was lost between the two is said."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from custodes.job.recording import Recording, as_current
from custodes.ledger import Decision, Ledger
from custodes.ledger.checking import check_ledger
from custodes.lm.checkpoint import load_checkpoint, save_checkpoint


@contextmanager
def run_in(folder: Path, run: str = "") -> Iterator[Recording]:
    with (
        Ledger.open(folder / "ledger.db") as ledger,
        as_current(Recording(ledger, run or ledger.start_run("test", {}, 0))) as recording,
    ):
        yield recording


def steps(recording: Recording, folder: Path, first: int, last: int) -> None:
    """A row and a checkpoint each."""
    for step in range(first, last + 1):
        recording.ledger.write(recording.run, [Decision(f"d{step}", "step", "")])
        save_checkpoint(folder / "checkpoints", step, {"step": step, "weights": torch.full((3,), float(step))})


def remove_ledger(folder: Path) -> None:
    for file in folder.glob("ledger.db*"):
        file.unlink()


def test_a_whole_record_has_no_hole(tmp_path: Path) -> None:
    with run_in(tmp_path) as recording:
        steps(recording, tmp_path, 1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with run_in(tmp_path, recording.run) as again:
            found = load_checkpoint(tmp_path / "checkpoints")
            assert found is not None
            assert found[0]["step"] == 4
            steps(again, tmp_path, 5, 6)
    assert check_ledger(tmp_path / "ledger.db").ok  # older checkpoints are gone, which is no problem


def cut(folder: Path, kept: Path) -> None:
    """The ledger as it was earlier: its write-ahead log was lost, or somebody put an old copy back."""
    remove_ledger(folder)
    shutil.copytree(kept, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("lose", [lambda folder, kept: remove_ledger(folder), cut], ids=["deleted", "cut"])
def test_a_ledger_that_lost_rows_has_a_hole(tmp_path: Path, lose: Callable[[Path, Path], None]) -> None:
    folder, kept = tmp_path / "run", tmp_path / "kept"
    with run_in(folder) as recording:
        steps(recording, folder, 1, 1)
    kept.mkdir()
    shutil.copy(folder / "ledger.db", kept)
    with run_in(folder, recording.run) as again:
        steps(again, folder, 2, 4)
        row = again.position()["row"]
    lose(folder, kept)
    with run_in(folder) as new:
        assert any("which the ledger does not hold" in p for p in check_ledger(folder / "ledger.db").problems)
        with pytest.warns(UserWarning, match=f"step-000004 follows row {row - 1} .* does not hold"):
            assert load_checkpoint(folder / "checkpoints") is not None
        steps(new, folder, 5, 7)  # no checkpoint of before is left
    (problem,) = check_ledger(folder / "ledger.db").problems
    assert "step-000004 follows row" in problem  # and it is still said


def test_a_checkpoint_edited_together_with_its_checksum_is_passed_over(tmp_path: Path) -> None:
    with run_in(tmp_path) as recording:
        steps(recording, tmp_path, 1, 2)
    newest = tmp_path / "checkpoints" / "step-000002"
    torch.save({"step": 2, "weights": torch.zeros(3)}, newest / "state.pt")
    (newest / "sha256").write_text(sha256((newest / "state.pt").read_bytes()).hexdigest())
    assert "state.pt was edited" in check_ledger(tmp_path / "ledger.db").problems[0]
    with run_in(tmp_path, recording.run):
        found = load_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    assert found[0]["step"] == 1
    assert "not what the ledger recorded" in found[2][0]


def test_without_a_record_nothing_is_asked(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoints", 1, {"step": 1})
    assert load_checkpoint(tmp_path / "checkpoints") is not None
    assert sorted(p.name for p in (tmp_path / "checkpoints" / "step-000001").iterdir()) == ["sha256", "state.pt"]
