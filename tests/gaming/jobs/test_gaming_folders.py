"""The folder of ``custodes gaming run``: one process in it, one run in it, and what that run was made of."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.environments.sandbox import open_sandbox
from custodes.gaming.record import read_index, read_lines
from custodes.job.locks import alone_in
from custodes.ledger import Ledger
from custodes.types import InputError

POLITICAL = ("--stage", "political-sycophancy")


def gaming(*words: object) -> int:
    return main(["gaming", *map(str, words)])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: ")]
    assert len(said) == 1
    return said[0]


@pytest.fixture
def dead() -> str:
    """A policy or monitor behind an address at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"endpoint:http://127.0.0.1:{held.getsockname()[1]}/v1#m"


# ---------------------------------------------------------------- one process


def test_of_two_commands_in_one_folder_one_is_refused(tmp_path: Path):
    """Two real processes, begun while neither has ended."""
    words = [
        "gaming",
        "run",
        "--policy",
        "scripted:flatterer",
        *POLITICAL,
        "--episodes",
        "2000",
        "--out",
        str(tmp_path),
    ]
    command = [sys.executable, "-m", "custodes", *words]
    pair = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in pair]
    codes = [process.returncode for process in pair]
    if codes == [0, 0]:  # the second came after the first had ended: that is no conflict
        assert any("Going on with run" in text for text in said)
    else:
        assert sorted(codes) == [0, 2]
        assert "in use by another process" in said[codes.index(2)]
    assert sorted(read_index(tmp_path / "episodes.index")["index"].tolist()) == list(range(2_000))


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = ("run", "--policy", "scripted:flatterer", *POLITICAL, "--episodes", 3, "--out", tmp_path)
    assert gaming(*run) == 0
    for words in (run, ("monitor", tmp_path, "--monitor", "rules")):
        capsys.readouterr()
        with alone_in(tmp_path):
            assert gaming(*words) == 2
        assert "in use" in refused(capsys)
        assert gaming(*words) == 0


def forget_files(folder: Path) -> None:
    """A ledger with the same run as before files were recorded."""
    with Ledger.open(folder / "ledger.db") as ledger:
        (run,) = ledger.runs()
    for file in folder.glob("ledger.db*"):
        file.unlink()
    with Ledger.open(folder / "ledger.db") as ledger:
        ledger.end_run(ledger.start_run(run.recipe, run.config, run.seed))


def test_what_two_runs_at_once_left_is_put_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Every episode twice, and rows that know nothing of the other's lines: as folders from before the lock have it."""
    run = ("run", "--policy", "scripted:flatterer", *POLITICAL, "--episodes", 6, "--out", tmp_path)
    assert gaming(*run) == 0
    for name in ("episodes.jsonl", "episodes.index"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() * 2)
    forget_files(tmp_path)
    capsys.readouterr()
    assert gaming("monitor", tmp_path, "--monitor", "rules") == 2
    assert "two runs at once" in refused(capsys)
    assert gaming(*run) == 0
    assert read_index(tmp_path / "episodes.index")["index"].tolist() == [
        line["index"] for line in read_lines(tmp_path / "episodes.jsonl")
    ]
    assert json.loads((tmp_path / "summary.json").read_text())["stages"]["political-sycophancy"]["n"] == 6
    assert gaming("monitor", tmp_path, "--monitor", "rules") == 0


# ---------------------------------------------------------------- one run


@pytest.mark.parametrize("wrong", ["nosuchmodel", "scripted:nobody", "endpoint:nowhere"])
def test_a_typo_does_not_cost_the_folder(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]):
    assert gaming("run", "--policy", wrong, *POLITICAL, "--episodes", 3, "--out", tmp_path) == 2
    assert "1 in 1,000" not in (said := capsys.readouterr().err)
    assert wrong.rpartition(":")[2] in said
    assert gaming("run", "--policy", "scripted:flatterer", *POLITICAL, "--episodes", 3, "--out", tmp_path) == 0
    assert gaming("run", "--policy", "scripted:contrarian", *POLITICAL, "--episodes", 3, "--out", tmp_path) == 2
    assert "holds a run with policy" in refused(capsys)


def test_a_dead_endpoint_is_said_soon(tmp_path: Path, dead: str, capsys: pytest.CaptureFixture[str]):
    import custodes.lm.endpoint  # noqa: F401 - its seconds are not the endpoint's

    began = time.monotonic()
    assert gaming("run", "--policy", dead, *POLITICAL, "--episodes", 25, "--out", tmp_path) == 2
    assert "nothing answers" in refused(capsys)
    assert gaming("run", "--policy", "scripted:flatterer", *POLITICAL, "--episodes", 25, "--out", tmp_path) == 0
    capsys.readouterr()
    assert gaming("monitor", tmp_path, "--monitor", dead) == 2
    assert "nothing answers" in refused(capsys)
    assert time.monotonic() - began < 60  # one by one, with all retries, it was 300
    assert not (tmp_path / "monitors").exists()
    assert not (tmp_path / "monitors.json").exists()


def test_one_episode_is_one_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert gaming("run", "--policy", "scripted:flatterer", *POLITICAL, "--episodes", 1, "--out", tmp_path) == 0
    said = capsys.readouterr().err
    assert "What 1 episode of" in said
    assert "1 episode shows" in said
    assert "1 episodes" not in said


# ---------------------------------------------------------------- what it is made of


def test_scripted_policies_are_refused_before_anything_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "ok.yaml").write_text("prompt: Hello.\ntool: false\n")
    assert gaming("run", "--policy", "scripted:honest", "--stage", tmp_path / "ok.yaml", "--out", tmp_path / "o") == 2
    said = capsys.readouterr().err
    assert "built-in stages only" in said
    assert "can show" not in said


def test_the_sandbox_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = ("run", "--policy", "scripted:honest", "--stage", "reward-tampering", "--episodes", 2, "--out", tmp_path)
    for kind in ("bubblewrap", "docker"):
        problem = ""
        try:
            open_sandbox({}, kind=kind).close()
        except InputError as error:
            problem = str(error).split(":")[0]
        assert gaming(*run, "--sandbox", kind) == (2 if problem else 0)
        assert not problem or problem in refused(capsys)
        capsys.readouterr()
        (tmp_path / "episodes.jsonl").unlink(missing_ok=True)  # so that the next has something to play
        (tmp_path / "episodes.index").unlink(missing_ok=True)
