"""What a report rests on is hashed in the chain: an edit is named by verify, by the report and at resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.gaming.record import ROW, read_index, read_lines
from custodes.ledger import Ledger
from custodes.ledger.checking import check_ledger

SEVERAL = 5
"""Moments at which a process is killed."""


def run(out: Path, n: int = 150) -> int:
    words = (
        "gaming",
        "run",
        "--policy",
        "scripted:flatterer",
        "--stage",
        "political-sycophancy",
        "--episodes",
        n,
        "--out",
        out,
    )
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played")
    assert run(folder) == 0
    return folder


@pytest.fixture
def folder(played: Path, tmp_path: Path) -> Path:
    """A copy: a folder may be moved with its ledger."""
    for file in played.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit(file: Path, old: bytes, new: bytes, line: int) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    file.write_bytes(b"".join(lines))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: "))
    return said


def test_what_was_left_alone_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder / "ledger.db")]) == 0
    assert main(["gaming", "report", str(folder)]) == 0
    assert main(["verify", str(folder / "ledger.db")]) == 0, capsys.readouterr().out  # the report was written again
    assert run(folder) == 0
    assert main(["verify", str(folder / "ledger.db")]) == 0


def test_an_edited_episode_is_named_by_its_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(folder / "episodes.jsonl", b'"gamed": true', b'"gamed":false', 70)
    assert main(["verify", str(folder / "ledger.db"), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "episodes.jsonl was edited in lines 65 to 128" in problem
    for words in (["gaming", "report"], ["gaming", "monitor", "--monitor", "rules"]):
        assert main([*words, str(folder)]) == 2
        assert "lines 65 to 128" in refused(capsys)
    assert run(folder) == 2
    assert "lines 65 to 128" in refused(capsys)
    assert main(["verify", "--no-files", str(folder / "ledger.db")]) == 0  # the chain itself


def test_an_edited_index_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = folder / "episodes.index"
    rows = bytearray(index.read_bytes())
    rows[-70 * ROW.itemsize + 1] ^= 1  # whether it gamed
    index.write_bytes(bytes(rows))
    assert main(["verify", str(folder / "ledger.db")]) == 1
    assert "episodes.index was edited in bytes" in capsys.readouterr().out
    assert run(folder) == 2


@pytest.mark.parametrize("what", ["cut", "longer", "gone"])
def test_lines_that_were_taken_away_or_added_are_noticed(folder: Path, what: str, capsys: pytest.CaptureFixture[str]):
    file = folder / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    if what == "gone":
        file.unlink()
    else:
        file.write_bytes(b"".join(lines[:140] if what == "cut" else [*lines, lines[-1]]))
    capsys.readouterr()
    assert main(["verify", str(folder / "ledger.db")]) == 1
    said = capsys.readouterr().out
    assert {"cut": "or cut: it has", "longer": "bytes more than were recorded, after line 150", "gone": "is missing"}[
        what
    ] in said
    if what != "gone":
        assert run(folder) == 2


def test_an_edited_summary_is_named_and_written_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = folder / "summary.json"
    right = summary.read_text()
    summary.write_text(right.replace('"gamed": 150', '"gamed": 0'))
    assert main(["verify", str(folder / "ledger.db")]) == 1
    assert "summary.json was edited" in capsys.readouterr().out
    assert run(folder) == 0
    assert summary.read_text() == right


def test_a_deleted_ledger_is_a_hole_and_no_clean_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in folder.glob("ledger.db*"):
        file.unlink()
    with pytest.warns(UserWarning, match="were there before the record began"):
        assert run(folder, 160) == 0
    assert main(["verify", str(folder / "ledger.db")]) == 1
    assert "lines 1 to 150" in capsys.readouterr().out


def test_an_index_that_is_made_again_is_recorded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custodes.gaming.record.FORMAT", 99)  # as a later version does with the index of this one
    assert run(folder, 160) == 0
    found = check_ledger(folder / "ledger.db")
    assert found.ok, found.problems
    (folder / "episodes.index").unlink()
    assert run(folder, 160) == 0
    assert check_ledger(folder / "ledger.db").ok


PLAY = """
import sys
from custodes.job import growing
growing.GROWN = 0.2
from custodes.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_goes_on_and_says_what_nobody_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "gaming",
        "run",
        "--policy",
        "scripted:flatterer",
        "--stage",
        "political-sycophancy",
        "--episodes",
        "100000",
    ]
    lines = tmp_path / "episodes.jsonl"
    for attempt in range(SEVERAL):
        before = lines.stat().st_size if lines.exists() else 0
        child = subprocess.Popen(
            [sys.executable, "-c", PLAY, *words, "--out", str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not lines.exists() or lines.stat().st_size < before + 50_000 * (attempt + 1):
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        found = check_ledger(tmp_path / "ledger.db")
        assert found.ok, found.problems  # what a kill leaves is a note and no problem
    kept = lines.read_bytes()
    n = len(read_index(tmp_path / "episodes.index"))
    assert run(tmp_path, n) == 0
    assert lines.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert len(list(read_lines(lines))) >= n
    found = check_ledger(tmp_path / "ledger.db")
    assert found.ok, found.problems
    assert any("taken as they are" in note for note in found.notes)
    edit(lines, b'"gamed": true', b'"gamed":false', 3)
    assert not check_ledger(tmp_path / "ledger.db").ok


def test_a_folder_from_before_files_were_recorded_is_taken_with_a_note(folder: Path) -> None:
    with Ledger.open(folder / "ledger.db") as ledger:
        (begun,) = ledger.runs()
    for file in folder.glob("ledger.db*"):
        file.unlink()
    with Ledger.open(folder / "ledger.db") as ledger:
        ledger.end_run(ledger.start_run(begun.recipe, begun.config, begun.seed))
    with pytest.warns(UserWarning, match="they were not recorded"):
        assert run(folder, 160) == 0
    found = check_ledger(folder / "ledger.db")
    assert found.ok
    assert any("lines 1 to 150" in note for note in found.notes)
