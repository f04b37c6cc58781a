"""Each command leaves a run: its options, the files that it read and wrote, its cost, and how it ended."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.cli.table import commands
from custodes.job.options import Use, uses_of
from custodes.ledger import Ledger, Run
from custodes.ledger.checking import check_ledger
from custodes.ledger.heads import make_key, read_heads


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    path = tmp_path / "preferences.jsonl"
    rows = [
        {"prompt": f"Question {n}?", "chosen": f"A good answer {n}.", "rejected": f"Bad {n}.", "annotator": "ab"[n % 2]}
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(*words: object) -> int:
    return main([str(word) for word in words])


def last_run(where: Path) -> tuple[Run, dict[str, set[str]]]:
    """The last run of a ledger, and the names of the files that it read and wrote."""
    with Ledger.open(where, read_only=True) as ledger:
        run = ledger.runs()[-1]
        files: dict[str, set[str]] = {"input": set(), "output": set(), "checkpoint": set()}
        for _, id, artefact in ledger.artefacts():
            if id == run.id:
                files[artefact.role].add(Path(artefact.path).name)
    return run, files


def personal(tmp_path: Path) -> Path:
    return tmp_path / "home" / "custodes" / "ledger.db"


def test_what_is_written_has_its_ledger_beside_it(
    tmp_path: Path, preferences: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "out").mkdir()
    assert call("feedback", "convert", preferences, tmp_path / "out" / "p.parquet") == 0
    run, files = last_run(tmp_path / "out" / "ledger.db")
    assert (run.recipe, run.status) == ("feedback convert", "completed")
    assert files["input"] == {"preferences.jsonl"}
    assert files["output"] == {"p.parquet"}
    assert run.config["target"] == str(tmp_path / "out" / "p.parquet")
    spent = run.invocations[-1]
    assert spent["seconds"] > 0
    assert spent["packages"]["custodes"]
    with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
        assert ledger.head().head in capsys.readouterr().err
    assert check_ledger(tmp_path / "out" / "ledger.db").ok
    (tmp_path / "out" / "p.parquet").write_bytes(b"forged")
    assert "p.parquet was edited" in check_ledger(tmp_path / "out" / "ledger.db").problems[0]


def test_an_edited_input_is_named(tmp_path: Path, preferences: Path) -> None:
    assert call("feedback", "convert", preferences, tmp_path / "p.json") == 0
    preferences.write_text(preferences.read_text().replace("Bad 3.", "Bad 4."))
    assert "preferences.jsonl was edited in lines 1 to 24" in check_ledger(tmp_path / "ledger.db").problems[0]


def test_what_only_prints_is_in_the_persons_ledger(tmp_path: Path, preferences: Path) -> None:
    for _ in range(2):
        assert call("feedback", "annotators", "--judgments", preferences) == 0
        run, files = last_run(personal(tmp_path))
        assert (run.recipe, run.status, files["input"]) == ("feedback annotators", "completed", {"preferences.jsonl"})
    preferences.write_text("{}\n")
    found = check_ledger(personal(tmp_path))
    assert found.ok  # nothing rests on what was read then
    assert "preferences.jsonl" in found.notes[0]


def test_a_project_has_a_ledger_of_its_own(tmp_path: Path, preferences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project" / ".custodes").mkdir(parents=True)
    (tmp_path / "project" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "project" / "deep")
    assert call("feedback", "annotators", "--judgments", preferences) == 0
    assert last_run(tmp_path / "project" / ".custodes" / "ledger.db")[0].recipe == "feedback annotators"
    assert not personal(tmp_path).exists()


def test_the_ledger_can_be_named_or_left_out(
    tmp_path: Path, preferences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("feedback", "annotators", "--judgments", preferences, "--ledger", tmp_path / "named.db") == 0
    assert last_run(tmp_path / "named.db")[0].recipe == "feedback annotators"
    assert call("feedback", "annotators", "--judgments", preferences, "--ledger=none") == 0
    monkeypatch.setenv("CUSTODES_LEDGER", "none")
    assert call("feedback", "convert", preferences, tmp_path / "p.json") == 0
    assert not personal(tmp_path).exists()
    assert not (tmp_path / "ledger.db").exists()
    assert call("feedback", "annotators", "--judgments", preferences, "--ledger") == 2


def test_what_was_wrong_from_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    assert call("feedback", "convert", tmp_path / "nowhere.jsonl", tmp_path / "p.json") == 2
    assert call("critic", "select", "--data", tmp_path / "nowhere.jsonl", "--out", tmp_path / "new" / "s.jsonl") == 2
    assert call("reward", "train", "--judgments", tmp_path / "nowhere.jsonl", "--out", tmp_path / "r") == 2
    assert [p.name for p in tmp_path.iterdir()] == []


def test_a_failure_is_recorded_where_there_is_a_ledger(tmp_path: Path, preferences: Path) -> None:
    assert call("feedback", "convert", preferences, tmp_path / "p.json") == 0
    assert call("feedback", "convert", tmp_path / "nowhere.jsonl", tmp_path / "q.json") == 2
    run, files = last_run(tmp_path / "ledger.db")
    assert (run.recipe, run.status, files["output"]) == ("feedback convert", "failed", set())


def test_heads_are_kept_and_signed(tmp_path: Path, preferences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public, heads = make_key(tmp_path / "key"), tmp_path / "heads.jsonl"
    monkeypatch.setenv("CUSTODES_LEDGER_KEY", str(tmp_path / "key"))
    for name in ("p.json", "q.json"):
        assert call("feedback", "convert", preferences, tmp_path / name, "--head-file", heads) == 0
    assert len(read_heads(heads)) == 2
    assert call("verify", tmp_path / "ledger.db", "--head-file", heads, "--public-key", public) == 0


def test_reward_training_and_evaluation(tmp_path: Path, preferences: Path, tiny_model: Path) -> None:
    out = tmp_path / "reward"
    train = ("reward", "train", "--judgments", preferences, "--out", out, "--model", tiny_model, "--epochs", 1)
    assert call(*train) == 0
    run, files = last_run(out / "ledger.db")
    assert (run.recipe, run.status) == ("reward train", "completed")
    assert "preferences.jsonl" in files["input"]
    assert "training.json" in files["output"]
    assert call(*train) == 0  # finished: measured again
    assert call("reward", "evaluate", "--model", out, "--judgments", preferences, "--json") == 0
    run, _ = last_run(personal(tmp_path))
    assert run.recipe == "reward evaluate"
    with Ledger.open(personal(tmp_path), read_only=True) as ledger:
        (result,) = ledger.evaluations(run.id)
    assert "accuracy" in result.metrics
    assert check_ledger(out / "ledger.db").ok
    weights = next(out.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    assert call(*train) == 2  # and is not measured as if it were the one that was trained
    assert not check_ledger(out / "ledger.db").ok


def test_reviewed_files_are_inputs(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "code.py").write_text("def f(x):\n    return x == None\n")
    assert call("critique", tmp_path / "code.py", "--no-evidence", "--model", tiny_model, "--no-cache") == 0
    run, files = last_run(personal(tmp_path))
    assert (run.recipe, run.status) == ("critique", "completed")
    assert "code.py" in files["input"]


@pytest.mark.parametrize("name", commands())
def test_every_command_says_which_of_its_options_name_what_it_writes(name: str) -> None:
    declared = commands()[name].declared()
    for option, use in uses_of(declared.options).items():
        written = option == "out" or (option == "target" and name == "feedback convert")  # "audit attack" aims at one
        assert not written or use is Use.OUTPUT or not declared.recorded


def test_a_command_that_changes_nothing_is_no_run(tmp_path: Path) -> None:
    assert call("models") == 0
    assert call("models", "--ledger", "none") == 2  # it has no such option
    assert not personal(tmp_path).exists()


def test_a_command_that_goes_on_from_its_folder_has_its_ledger_there(
    tmp_path: Path,
    preferences: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "reward"
    train = ("reward", "train", "--judgments", preferences, "--out", out, "--model", tiny_model, "--epochs", 1)
    assert call(*train, "--ledger", tmp_path / "elsewhere.db") == 2
    assert "goes on from the ledger in its folder; leave out --ledger" in capsys.readouterr().err
    monkeypatch.setenv("CUSTODES_LEDGER", str(tmp_path / "elsewhere.db"))
    assert call(*train) == 0
    assert last_run(out / "ledger.db")[1]["input"] >= {"preferences.jsonl"}
    assert not (tmp_path / "elsewhere.db").exists()


KILLED = """
import sys, time
from custodes.cli import main
from custodes.cli.table import commands
from custodes.job.options import Use, uses_of
from custodes.job import parts
kept = parts.Parts._keep
def slow(self, found):
    kept(self, found)
    print("kept", flush=True)
    time.sleep(0.3)
parts.Parts._keep = slow
sys.exit(main(sys.argv[1:]))
"""


def test_killed_between_its_parts_a_command_goes_on_from_what_was_recorded(tmp_path: Path, tiny_model: Path) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "out" / "chosen.jsonl"
    rows = [
        {
            "id": f"e{i}",
            "code": f"def f(x):\n    return x + {i}\n",
            "bug_lines": [2],
            "description": "adds too much",
            "split": "train",
        }
        for i in range(80)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["critic", "select", "--data", data, "--out", out, "--critic", "likelihood", "--model", tiny_model]
    for _ in range(5):
        command = [sys.executable, "-c", KILLED, *map(str, words)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert child.stdout
        line = child.stdout.readline()
        child.kill()
        child.wait()
        if not line:
            break
    found = check_ledger(out.parent / "ledger.db")
    assert found.ok, found.problems
    with Ledger.open(out.parent / "ledger.db", read_only=True) as ledger:
        assert {run.status for run in ledger.runs()} >= {"running"}
    part = next((out.parent / "chosen.jsonl.parts").rglob("*.json"))
    right = part.read_bytes()
    part.write_bytes(right.replace(b"0.0", b"1.0", 1) if b"0.0" in right else right + b" ")
    assert call(*words) == 2
    part.write_bytes(right)
    assert call(*words) == 0
    assert check_ledger(out.parent / "ledger.db").ok


def test_recording_costs_little(tmp_path: Path) -> None:
    """Many files are one write."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i}.py").write_text(f"x = {i}\n")
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        from custodes.job.recording import Recording

        Recording(ledger, ledger.start_run("test", {}, 0)).keep(folder)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        (times,) = connection.execute("SELECT count(DISTINCT at) FROM log WHERE kind = 'artefact'").fetchone()
    assert times == 1
