"""What the real libraries hold after a run: the numbers of every step, offline."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.cli.table import commands
from custodes.job.trackers import TRACKERS, track, tracked_as

LOSS = "careful/reward training/loss"
PROGRAM = """
import sys
from pathlib import Path
from custodes.job.trackers import track, tracked_as, tracking
with tracking(sys.argv[1], Path(sys.argv[2]), {"seed": 3, "model": "tiny"}):
    for step in (1, 2, 3):
        with tracked_as("careful"):
            track({"loss": 1 / step, "tokens": 64, "kl": float("nan"), "note": "x"}, step, "reward training")
"""


def tracked(which: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps in a process of their own, as a command's are; nothing leaves this machine."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    subprocess.run([sys.executable, "-c", PROGRAM, which, str(folder / "run")], check=True, timeout=300)


def test_tensorboard_holds_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracked("tensorboard", tmp_path, monkeypatch)
    held = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in held.Scalars(LOSS)] == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]
    assert set(held.Tags()["scalars"]) == {LOSS, "careful/reward training/tokens"}


def test_wandb_holds_every_step_and_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    tracked("wandb", tmp_path, monkeypatch)
    (file,) = (tmp_path / "run").rglob("*.wandb")
    history, options = [], {}
    for data in records_of(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
        elif record.WhichOneof("record_type") == "run":
            options = {u.key or "/".join(u.nested_key): u.value_json for u in record.run.config.update}
    assert [(row["step"], row[LOSS]) for row in history] == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]
    assert not any("kl" in name for row in history for name in row)
    assert options["seed"] == "3"


def records_of(log: bytes) -> list[bytes]:
    """The records of a run's file: a log in LevelDB's form, behind seven bytes that name it."""
    block, place, records, whole = 32768, 7, [], b""
    while place + 7 <= len(log):
        if block - place % block < 7:  # no record begins so near to the end of a block
            place += block - place % block
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        whole += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            records.append(whole)
            whole = b""
    return records


def test_trackio_holds_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("trackio")
    tracked("trackio", tmp_path, monkeypatch)
    read = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as S;"
        "(run,) = S.get_runs('custodes'); print(json.dumps(S.get_logs('custodes', run), default=str))"
    )
    rows = json.loads(subprocess.run([sys.executable, "-c", read], capture_output=True, check=True, timeout=120).stdout)
    assert [(row["step"], row[LOSS]) for row in rows] == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]


def test_a_command_that_trains_tells_its_steps(tmp_path: Path, tiny_model: Path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = [{"prompt": f"Question {n}?", "chosen": f"A good answer {n}.", "rejected": f"Bad {n}."} for n in range(12)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "reward"
    words = ["reward", "train", "--judgments", tmp_path / "p.jsonl", "--model", tiny_model, "--out", out, "--rank", 4]
    assert main([*map(str, words), "--epochs", "2", "--dtype", "float32", "--track", "tensorboard"]) == 0
    held = events.EventAccumulator(str(out / "tensorboard")).Reload()
    losses = held.Scalars("reward training/loss")
    assert [e.step for e in losses] == list(range(1, len(losses) + 1))
    assert all(math.isfinite(e.value) for e in losses)
    assert main([*map(str, words), "--epochs", "2", "--dtype", "float32"]) == 0  # the tracker is no part of the work


def test_nothing_is_told_where_nobody_tracks():
    with tracked_as("careful"):
        track({"loss": 1.0}, 1, "reward training")


def test_who_trains_can_be_tracked_and_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]):
    steps = {name for name, listed in commands().items() if listed.declared().steps}
    assert steps >= {
        "quickstart",
        "policy optimise",
        "policy tune",
        "reward train",
        "gaming train",
        "critic train",
        "critic tune",
    }
    assert all(commands()[name].declared().options.__dataclass_fields__["out"] for name in steps)
    assert main(["quickstart", "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    assert TRACKERS == ("wandb", "tensorboard", "trackio")
