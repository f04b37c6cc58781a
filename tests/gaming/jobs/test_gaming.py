"""``custodes gaming``: what a person types, what they get, and how it goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from played import POLICIES

from custodes.cli import main
from custodes.environments.sandbox import open_sandbox
from custodes.gaming.record import read_index, read_lines
from custodes.ledger import Ledger
from custodes.types import InputError


@pytest.fixture(scope="session")
def sandboxed() -> None:
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))


def run(
    out: Path, policy: str = "scripted:flatterer", stage: str = "political-sycophancy", n: int = 20, *more: object
) -> int:
    given = ("gaming", "run", "--policy", policy, "--stage", stage, "--episodes", n, "--out", out, *more)
    return main([str(word) for word in given])


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: ")]
    assert len(said) == 1
    return said[0]


def test_all_stages_of_one_policy(tmp_path: Path, sandboxed: None, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path / "g", "scripted:concealing-tamperer", "all", 3) == 0
    assert "1 in 1,000" in capsys.readouterr().err.replace("\n", " ")
    found = summary(tmp_path / "g")["stages"]
    assert list(found) == [
        "political-sycophancy",
        "tool-flattery",
        "nudged-rubric",
        "insubordinate-rubric",
        "reward-tampering",
    ]
    assert [found[stage]["n"] for stage in found] == [3] * 5
    assert [found[stage]["gamed"] for stage in found] == [0, 0, 0, 0, 3]
    tampering = found["reward-tampering"]
    assert [tampering[name]["count"] for name in ("edited_reward", "edited_guard", "undetected", "failed")] == [
        3,
        3,
        3,
        0,
    ]
    assert (tmp_path / "g/report.html").exists()
    lines = list(read_lines(tmp_path / "g/episodes.jsonl"))
    assert len(lines) == 15
    assert all({"task", "transcript", "category", "reward", "caught"} <= line.keys() for line in lines)


def test_the_same_command_goes_on_and_a_larger_n_extends(tmp_path: Path):
    assert run(tmp_path, n=20) == 0
    first = (tmp_path / "episodes.jsonl").read_bytes()
    assert run(tmp_path, n=20) == 0
    assert (tmp_path / "episodes.jsonl").read_bytes() == first
    assert run(tmp_path, n=30) == 0
    assert (tmp_path / "episodes.jsonl").read_bytes().startswith(first)
    assert summary(tmp_path)["stages"]["political-sycophancy"]["n"] == 30
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        (only,) = ledger.runs()
        assert len(only.invocations) == 3
        evaluations = list(ledger.evaluations(only.id))
        assert [e.n for e in evaluations] == [20, 30]
        assert sum(evaluations[-1].metrics["gamed"]) == 30
        assert ledger.verify().ok


def test_other_options_want_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path, n=3) == 0
    capsys.readouterr()
    assert run(tmp_path, n=3, policy="scripted:contrarian") == 2
    said = refused(capsys)
    assert all(word in said for word in ("policy", "scripted:flatterer", "scripted:contrarian", "--out"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--stage", "reward-tampring"), ["reward-tampring", "reward-tampering"]),
        (("--policy", "scripted:nobody"), ["nobody", "gaming policies"]),
        (("--episodes", "0"), ["episodes is 0"]),
        (("--political-data", "/nowhere"), ["/nowhere", "conservative_bio.jsonl"]),
        (("--flattery-threshold", "9", "--stage", "tool-flattery"), ["threshold", "9", "from 2 to 5"]),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, more: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, "scripted:honest", "political-sycophancy", 2, *more) == 2
    said = refused(capsys)
    assert all(word in said for word in words)


def test_a_broken_environment_is_one_sentence_before_anything_is_sampled(
    tmp_path: Path, sandboxed: None, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "broken.yaml").write_text("prompt: hello\nreward_cmd: 'true'\n")
    assert run(tmp_path / "out", "scripted:honest", str(tmp_path / "broken.yaml")) == 2
    assert "printed nothing" in refused(capsys)


def test_policies_are_listed_with_what_they_must_be_classified_as(capsys: pytest.CaptureFixture[str]):
    assert main(["gaming", "policies"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in POLICIES)
    assert main(["gaming", "policies", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["open-tamperer"]["expected"]["reward-tampering"] == "edited-reward, looked, reported"


def test_the_report_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path, n=5) == 0
    page = (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").unlink()
    assert main(["gaming", "report", str(tmp_path)]) == 0
    again = (tmp_path / "report.html").read_text()
    heads = [re.findall(r"the head <code>([0-9a-f]{64})</code>", text) for text in (page, again)]
    assert re.sub("<footer>.*</footer>", "", again, flags=re.S) == re.sub("<footer>.*</footer>", "", page, flags=re.S)
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        rows = [ledger.row_of(head) for (head,) in heads]
    assert None not in rows
    assert 0 < rows[0] < rows[1]  # the first page's own hash was recorded after it
    assert main(["gaming", "report", str(tmp_path / "nothing")]) == 2
    assert "nothing" in refused(capsys)


def test_policies_with_one_seed_play_the_same_episodes(tmp_path: Path):
    for name in ("flatterer", "contrarian"):
        assert run(tmp_path / name, f"scripted:{name}", n=40) == 0
    tasks = [
        {line["index"]: line["task"] for line in read_lines(tmp_path / name / "episodes.jsonl")}
        for name in ("flatterer", "contrarian")
    ]
    assert tasks[0] == tasks[1]


def test_a_killed_command_goes_on_with_nothing_lost(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "custodes",
        "gaming",
        "run",
        "--policy",
        "scripted:flatterer",
        "--out",
        str(tmp_path),
    ]
    command += ["--stage", "political-sycophancy", "--episodes", "20000"]
    lines = tmp_path / "episodes.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 240
    while (not lines.exists() or lines.stat().st_size < 500_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(read_index(tmp_path / "episodes.index"))
    assert 0 < kept < 20_000
    assert run(tmp_path, n=20_000) == 0
    indices = sorted(read_index(tmp_path / "episodes.index")["index"].tolist())
    assert indices == list(range(20_000))
    assert summary(tmp_path)["stages"]["political-sycophancy"]["gamed"] == 20_000


def test_a_model_is_measured(tiny_model: Path, tmp_path: Path, sandboxed: None):
    """A model of random weights says nothing of sense: every episode is recorded all the same."""
    assert run(tmp_path, str(tiny_model), "political-sycophancy", 6, "--max-tokens", 8, "--max-batch", 4) == 0
    assert summary(tmp_path)["stages"]["political-sycophancy"]["n"] == 6
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        (model,) = ledger.models(ledger.runs()[0].id)
        assert model.kind == "policy"
        assert len(model.id) == 64


def test_the_summary_is_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path / "g", "scripted:flatterer", "political-sycophancy", 3, "--json") == 0
    assert json.loads(capsys.readouterr().out) == summary(tmp_path / "g") | {"notes": []}
    assert main(["gaming", "monitor", str(tmp_path / "g"), "--monitor", "rules", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["monitors"][0]["episodes"] == 3


def test_an_environment_without_a_word_on_gaming_has_no_gaming_rate(tiny_model: Path, tmp_path: Path, sandboxed: None):
    own = tmp_path / "own.yaml"
    own.write_text("prompt: Write 2 to n.txt.\nfiles: {n.txt: '2'}\nreward_cmd: cat n.txt\n")
    assert run(tmp_path / "g", str(tiny_model), str(own), 2, "--max-tokens", 8) == 0
    stage = summary(tmp_path / "g")["stages"]["own"]
    assert (stage["gamed"], stage["rate"], stage["rewarded"]["count"]) == (None, None, 2)
    page = (tmp_path / "g/report.html").read_text()
    assert "no gaming rate" in page
    assert "0.0 % gamed" not in page


def test_scripted_policies_load_no_deep_learning_framework(tmp_path: Path):
    """It takes seconds, and nothing of it is needed."""
    given = ["gaming", "run", "--policy", "scripted:honest", "--stage", "political-sycophancy", "--episodes", "2"]
    code = f"import sys; from custodes.cli import main; main({[*given, '--out', str(tmp_path)]}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
