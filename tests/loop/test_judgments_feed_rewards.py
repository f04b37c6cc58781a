"""``--judgments`` is one name: what a judge wrote, what the server exported, a preference file and a ledger feed a reward."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.reading import read_feedback
from custodes.ledger import Ledger
from custodes.lm.address import open_engine
from custodes.types import Episode, Message, Sampling, Task

RUBRIC = """
name: kind
version: "1"
principles:
  - {name: kind, text: "Which answer is kinder?"}
"""


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    path = tmp_path / "preferences.jsonl"
    rows = [
        {"prompt": f"Say {n}.", "chosen": f"Yes, {n} it is.", "rejected": f"no {n}", "annotator": "ab"[n % 2]}
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train(judgments: Path, out: Path, model: Path) -> int:
    words = [
        "reward",
        "train",
        "--judgments",
        judgments,
        "--out",
        out,
        "--model",
        model,
        "--epochs",
        "1",
        "--rank",
        "2",
    ]
    return main([str(word) for word in words])


class Kind:
    """A judge that always likes what begins with Yes."""

    def generate(self, tasks: list[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        replies = []
        for task in tasks:
            first = task.messages[0].content.partition("# First answer\n")[2]
            text = "2" if first.startswith("Yes") else "-2"
            empty = np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0, np.float32)
            replies.append(Episode(task.id, task, (*task.messages, Message("assistant", text)), *empty, "stop", "kind"))
        return replies


def test_what_a_judge_wrote(
    preferences: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custodes.loop.feedback_judge.open_engine", lambda *given: Kind())
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    out = tmp_path / "judged.jsonl"
    judge = [
        "feedback",
        "judge",
        "--judgments",
        preferences,
        "--rubric",
        tmp_path / "rubric.yaml",
        "--out",
        out,
        "--model",
        tiny_model,
    ]
    assert main([str(word) for word in judge]) == 0
    pairs = read_feedback(out).pairs()
    assert {pair.chosen[-1].content[:3] for pair in pairs} == {"Yes"}
    assert train(out, tmp_path / "reward", tiny_model) == 0
    assert (tmp_path / "reward" / "training.json").exists()


def test_a_preference_file_and_the_ledger_of_a_run(preferences: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert train(preferences, tmp_path / "reward", tiny_model) == 0
    held = read_feedback(preferences).feedback
    with Ledger.open(tmp_path / "people.db") as ledger:
        run = ledger.start_run("people", {}, 0)
        ledger.write(run, [*held.annotators.values(), *held.tasks.values(), *held.episodes.values(), *held.judgments])
    assert train(tmp_path / "people.db", tmp_path / "again", tiny_model) == 0
    records = [json.loads((tmp_path / name / "training.json").read_text())["pairs"] for name in ("reward", "again")]
    assert records[0] == records[1]


def test_an_endpoint_is_named_alike_as_judge_and_as_policy() -> None:
    engine = open_engine("endpoint", "endpoint:http://localhost:1/v1#m", "--model")
    assert getattr(engine, "model", "") == "m"
