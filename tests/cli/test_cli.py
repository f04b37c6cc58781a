"""The command ``custodes`` as a person meets it: in a process of its own, with what it prints and its exit code."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from custodes.cli import commands, main
from custodes.cli.call import _as_json
from custodes.cli.words import storage_problem
from custodes.ledger import Ledger
from custodes.types import Message, Task

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # tiny products are slower on two


def custodes(*arguments: object, stdout: object = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "custodes", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300, env=ONE_THREAD)  # type: ignore[call-overload]


def refused(*arguments: object, **more: object) -> str:
    """The one sentence on stderr of a command that exits with code 2."""
    done = custodes(*arguments, **more)
    assert done.returncode == 2, done.stderr
    assert not done.stdout
    assert done.stderr.startswith("custodes: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def refused_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The same within this process, where what is slow to import is there already."""
    assert main([str(a) for a in arguments]) == 2
    out, said = capsys.readouterr()
    assert not out
    assert said.startswith("custodes: ")
    assert said.count("\n") == 1
    return said.strip()


def row(n: int, **columns: object) -> dict[str, object]:
    return {"prompt": f"Question {n}?", "chosen": f"A good answer {n}.", "rejected": f"Bad {n}."} | columns


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    return write(tmp_path / "preferences.jsonl", [row(n) for n in range(12)])


# ---------------------------------------------------------------- help and options


def test_help_names_every_command_and_loads_no_deep_learning_framework():
    code = "import sys; from custodes.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in commands())


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert not ended.value.code
    assert f"usage: custodes {name}" in capsys.readouterr().out


def test_no_command_shows_what_there_is():
    done = custodes()
    assert done.returncode == 2
    assert "usage: custodes COMMAND" in done.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["quikstart"], ["quikstart", "quickstart"]),
        (["reward", "tran"], ["reward tran", "reward train"]),
        (["feedback", "convert", "a", "b", "--fom", "text"], ["--fom", "--form"]),
        (["verify"], ["needs LEDGER"]),
        (["reward", "train", "--preferences", "a"], ["no option --preferences", "did you mean --judgments?"]),
        (["critic", "prioritise", "--preferences", "a"], ["did you mean --judgments?"]),
        (["feedback", "annotators", "--preferences", "a"], ["did you mean --judgments?"]),
        (["feedback", "labels", "--method", "mace"], ["no option --method", "did you mean --aggregator?"]),
        (["feedback", "annotators", "--method", "a"], ["did you mean --annotator-model?"]),
        (["audit", "report", "ledger.db"], ["needs --out PATH"]),
        (
            ["feedback", "convert", "a", "b", "--form", "prose"],
            ["prose", "--form", "conversational, text, dialogue, completions, judgments."],
        ),
        (["quickstart", "--arm", "carefull"], ["--arm is 'carefull'", "did you mean 'careful'?"]),
        (["verify", "a", "b"], ["b"]),
        (["feedback", "annotators", "--judgments", "a", "--config"], ["--config", "YAML file"]),
    ],
)
def test_a_wrong_command_line_is_one_sentence(given: list[str], words: list[str], capsys: pytest.CaptureFixture[str]):
    said = refused_here(capsys, *given)
    assert all(word in said for word in words)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_wrong_command_line_is_one_sentence_on_every_terminal(encoding: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ONE_THREAD, "PYTHONIOENCODING", encoding)
    assert refused("verify") == "custodes: custodes verify needs LEDGER; see custodes verify --help."


def test_yaml_comes_first_and_flags_override_it(preferences: Path, tmp_path: Path):
    config = tmp_path / "convert.yaml"
    config.write_text("form: dialogue\n")
    out = tmp_path / "out.jsonl"
    for given, chosen in (
        ((), "\n\nHuman: Question 0?\n\nAssistant: A good answer 0."),
        (
            ("--form", "text"),
            "A good answer 0.",
        ),
    ):
        assert custodes("feedback", "convert", preferences, out, "--config", config, *given).returncode == 0
        assert json.loads(out.read_text().splitlines()[0])["chosen"] == chosen


def test_yaml_reaches_nested_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = tmp_path / "sample.yaml"
    config.write_text("temperature: 0.5\nmax-tokens: 0\n")
    assert "max_tokens is 0" in refused_here(capsys, "policy", "sample", "--config", config, "--prompt", "Hello")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fom: text\n", ["fom", "form"]),
        ("form: prose\n", ["form", "prose"]),
        ("- form\n", ["list"]),
        ("form: [\n", ["not YAML"]),
    ],
)
def test_a_wrong_yaml_file_is_one_sentence(
    tmp_path: Path, text: str, words: list[str], capsys: pytest.CaptureFixture[str]
):
    config = tmp_path / "convert.yaml"
    config.write_text(text)
    said = refused_here(capsys, "feedback", "convert", "a", "b", "--config", config)
    assert all(word in said for word in [*words, str(config)])


# ---------------------------------------------------------------- files


def test_a_malformed_row_is_named(tmp_path: Path):
    lines = [json.dumps(row(n)) for n in range(5000)]
    lines[4216] = '{"prompt": "cut off'
    path = tmp_path / "preferences.jsonl"
    path.write_text("\n".join(lines))
    said = refused("feedback", "convert", path, tmp_path / "out.parquet")
    assert "preferences.jsonl" in said
    assert "4,217" in said


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"chosen": None}, ["chosen"]), ({"rejected": "  "}, ["rejected", "empty"]), ({"chosen": 3}, ["chosen", "int"])],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, columns: dict[str, object], words: list[str], capsys: pytest.CaptureFixture[str]
):
    path = write(tmp_path / "p.jsonl", [row(1), row(2, **columns)])
    said = refused_here(capsys, "feedback", "convert", path, tmp_path / "out.jsonl")
    assert all(word in said for word in [*words, "row 2"])


def test_convert_there_and_back_loses_nothing(preferences: Path, tmp_path: Path):
    assert custodes("feedback", "convert", preferences, tmp_path / "p.parquet").returncode == 0
    assert (
        custodes("feedback", "convert", tmp_path / "p.parquet", tmp_path / "back.jsonl", "--form", "text").returncode
        == 0
    )
    assert (tmp_path / "back.jsonl").read_text() == preferences.read_text()


def test_a_full_disk_is_one_sentence(preferences: Path, tmp_path: Path):
    full = tmp_path / "full.jsonl"
    full.symlink_to("/dev/full")
    assert "No space left" in refused("feedback", "convert", preferences, full)
    with open("/dev/full", "w") as nowhere:
        done = custodes("feedback", "convert", preferences, tmp_path / "out.jsonl", stdout=nowhere)
    assert done.returncode == 2
    assert done.stderr.startswith("custodes: the disk is full")
    assert done.stderr.count("\n") == 1


def test_output_nobody_reads_ends_quietly(preferences: Path, tmp_path: Path):
    command = [sys.executable, "-m", "custodes", "feedback", "convert", str(preferences), str(tmp_path / "out.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=240) == 1
    assert process.stderr is not None
    assert not process.stderr.read()


# ---------------------------------------------------------------- ledgers


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as opened:
        run = opened.start_run("test", {}, seed=0)
        opened.write(run, [Task(f"t{n}", (Message("user", f"Question {n}?"),)) for n in range(5)])
        opened.end_run(run)
    return path


def test_verify_passes_an_honest_ledger(ledger: Path):
    done = custodes("verify", ledger)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 rows" in done.stdout


def test_verify_names_the_first_bad_row(ledger: Path):
    with sqlite3.connect(ledger) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE log SET body = replace(body, 'Question', 'Answer') WHERE seq IN (3, 5)")
    done = custodes("verify", ledger)
    assert done.returncode == 1
    assert "row 3" in done.stdout


def test_verify_of_nothing_is_bad_input(tmp_path: Path):
    assert "nothing.db" in refused("verify", tmp_path / "nothing.db")


def test_report_reads_the_ledger_alone(ledger: Path, tmp_path: Path):
    before = ledger.read_bytes()
    done = custodes("audit", "report", ledger, "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "again/report.json").read_text())["headline"]["gold_base"] is None
    assert (tmp_path / "again/report.html").exists()
    assert ledger.read_bytes() == before


def test_report_of_an_unknown_run_is_bad_input(ledger: Path, tmp_path: Path):
    assert "no run 'other'" in refused("audit", "report", ledger, "--run", "other", "--out", tmp_path / "again")


# ---------------------------------------------------------------- annotators


def test_annotators_finds_who_answers_against_the_others(tmp_path: Path):
    good, poor = "A good answer.", "A poor answer."  # of one length, which would explain everything otherwise
    rows = [row(n % 40, chosen=good, rejected=poor, annotator=f"honest-{n // 40}") for n in range(160)]
    rows += [row(n, chosen=poor, rejected=good, annotator="inverter") for n in range(40)]
    path = write(tmp_path / "judged.jsonl", rows)
    told = json.loads(custodes("feedback", "annotators", "--judgments", path, "--json").stdout)
    assert told["annotators"][0]["annotator"] == "inverter"
    assert told["annotators"][0]["reliability"] < 0
    assert told["agreement"]["pairs"] == 40
    shown = custodes("feedback", "annotators", "--judgments", path).stdout
    assert shown.splitlines()[1].split()[:2] == ["inverter", "40"]


def test_comparisons_are_ranked_beside_known_truths(tmp_path: Path):
    rows = [f"p{n % 4},{a},{b},{min(a, b) if n % 5 else b}" for n in range(60) for a, b in ("ab", "bc", "ca")]
    table = tmp_path / "compared.csv"
    table.write_text("\n".join(["worker,left,right,label", *rows, "p0,x,y,x"]))
    truth = tmp_path / "truth.csv"
    truth.write_text("left,right,label\na,b,a\nb,c,b\nx,y,y\n")
    told = json.loads(
        custodes("feedback", "comparisons", "--judgments", table, "--truth", truth, "--reference", "b", "--json").stdout
    )
    ranks = [(i["item"], i["group"], i["rank"]) for i in told["items"]]
    assert ranks == [("a", 0, 1), ("b", 0, 2), ("c", 0, 3), ("x", 1, 1), ("y", 1, 2)]
    assert next(i for i in told["items"] if i["item"] == "b")["quality"] == 0
    assert told["truth"]["right"]["n"] == 3
    assert any("2 groups that no comparison connects" in note for note in told["notes"])
    shown = custodes(
        "feedback", "comparisons", "--judgments", table, "--annotator-model", "bradley-terry", "--truth", truth
    ).stdout
    assert "believed equally" in shown
    assert "Where the truth is known" in shown
    assert "--resamples 1" in refused("feedback", "comparisons", "--judgments", table, "--resamples", 1)


def test_watch_sets_its_labels_beside_known_truths_and_says_what_a_group_may_be(tmp_path: Path):
    good, poor = "A good answer.", "A poor answer."
    rows = [row(n % 40, chosen=good, rejected=poor, annotator=f"honest-{n // 40}") for n in range(160)]
    path = write(tmp_path / "judged.jsonl", rows)
    truth = tmp_path / "truth.csv"
    truth.write_text(f"left,right,label\n{good},{poor},{poor}\n")
    told = json.loads(custodes("feedback", "watch", "--judgments", path, "--truth", truth, "--json").stdout)
    assert told["truth"]["right"]["estimate"] == 0
    assert told["truth"]["stated"] > 0.5
    assert told["agreement_by_pair"][0]["items"] == 40
    assert any("err independently" in note for note in told["notes"])
    assert "too sure" in custodes("feedback", "watch", "--judgments", path, "--truth", truth).stdout


# ---------------------------------------------------------------- models


def test_sample_prints_replies(tiny_model: Path, tmp_path: Path):
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "Hello"}, {"prompt": "Who watches?"}])
    options = ("--model", tiny_model, "--max-tokens", 8, "--dtype", "float32", "--json")
    done = custodes("policy", "sample", "--tasks", prompts, "-n", 2, *options)
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["prompt"][0]["content"] for r in replies] == ["Hello"] * 2 + ["Who watches?"] * 2
    assert all(r["completion"][-1]["role"] == "assistant" and 1 <= r["tokens"] <= 8 for r in replies)


def test_sample_takes_one_source_of_prompts(capsys: pytest.CaptureFixture[str]):
    assert "--tasks FILE" in refused_here(capsys, "policy", "sample")
    assert "did you mean --tasks" in refused_here(capsys, "policy", "sample", "--prompts", "prompts.jsonl")


def test_a_reward_is_trained_and_evaluated_from_a_file(tiny_model: Path, preferences: Path, tmp_path: Path):
    options = ("--rank", 4, "--epochs", 4, "--dtype", "float32")
    done = custodes(
        *("reward", "train", "--judgments", preferences, "--out", tmp_path / "reward", "--model", tiny_model),
        *options,
    )
    assert done.returncode == 0, done.stderr
    done = custodes(
        *("reward", "evaluate", "--model", tmp_path / "reward", "--judgments", preferences, "--json"),
        *("--dtype", "float32"),
    )
    told = json.loads(done.stdout)
    assert told["n"] == 12
    assert told["interval"][0] <= told["accuracy"] <= told["interval"][1]
    assert 0 <= told["calibration_error"] <= 1


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_completion_longer_than_the_context_is_named(
    tiny_model: Path, tmp_path: Path, command: str, capfd: pytest.CaptureFixture[str]
):
    reward, good = tmp_path / "reward", write(tmp_path / "good.jsonl", [row(n) for n in range(12)])
    trained = ("reward", "train", "--model", tiny_model, "--out", reward, "--dtype", "float32", "--held-out", 0)
    if command == "evaluate":
        assert main([str(a) for a in (*trained, "--judgments", good, "--rank", 4, "--epochs", 1)]) == 0
    capfd.readouterr()
    path = write(tmp_path / "long.jsonl", [row(1), row(2, rejected="fox " * 700), row(3)])
    given = trained if command == "train" else ("reward", "evaluate", "--model", reward, "--dtype", "float32")
    said = refused_here(capfd, *given, "--judgments", path)
    assert "long.jsonl, row 2, rejected: the completion has" in said
    assert "512 are read at most; shorten it or leave the row out." in said


def test_every_member_of_a_reward_is_exported_for_transformers(
    tiny_model: Path, preferences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trained = ("reward", "train", "--model", tiny_model, "--out", tmp_path / "reward", "--dtype", "float32")
    options = ("--judgments", preferences, "--members", 2, "--rank", 4, "--epochs", 1)
    assert main([str(a) for a in (*trained, *options)]) == 0
    capsys.readouterr()
    options = ["--model", str(tmp_path / "reward"), "--out", str(tmp_path / "classifiers"), "--dtype", "float32"]
    assert main(["reward", "export", *options]) == 0
    folders = capsys.readouterr().out.split()
    assert folders == [str(tmp_path / "classifiers" / f"member_{k}") for k in range(2)]
    for folder in folders:
        assert AutoModelForSequenceClassification.from_pretrained(folder).num_labels == 1
    capsys.readouterr()
    assert "is not empty" in refused_here(capsys, "reward", "export", *options)


def test_ctrl_c_says_how_to_go_on(tiny_model: Path, preferences: Path, tmp_path: Path):
    command = [sys.executable, "-m", "custodes", "reward", "train", "--judgments", preferences, "--model", tiny_model]
    command += ["--out", tmp_path / "reward", "--epochs", 10**5, "--checkpoint-every", 1, "--dtype", "float32"]
    process = subprocess.Popen(
        [str(c) for c in command],
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
    )
    deadline = time.monotonic() + 240
    while not any((tmp_path / "reward").glob("checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_what_a_result_does_not_hold_is_null() -> None:
    assert _as_json({"low": None, "points": [None, 1]}) == {"low": None, "points": [None, 1]}


def test_a_disk_that_fails_under_the_ledger_is_one_sentence() -> None:
    failed = RuntimeError("(sqlite3.OperationalError) disk I/O error")
    told = storage_problem(failed)
    assert told is not None
    assert told.startswith("a disk failed")
    assert storage_problem(RuntimeError("anything else")) is None
