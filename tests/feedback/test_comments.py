"""Comments become ratings that a reward learns from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.collection import Feedback
from custodes.feedback.comments import rate_comments
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.reading import read_feedback
from custodes.feedback.records import write_judgments
from custodes.feedback.rubric import Rubric, load_rubric
from custodes.types import Episode, Message, Sampling, Task

RUBRIC = """
name: kind
version: "1"
principles:
  - {name: kind, text: "How kind is the answer?"}
  - {name: brief, text: "How brief is the answer?"}
"""


class Reads:
    """Kind where the comment says so, silent about brevity; of the last comment it says nothing that is a number."""

    def generate(self, tasks: list[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        replies = []
        for task in tasks:
            words = task.messages[0].content
            comment = words.partition("# Comment\n")[2].partition("\n\n# Question")[0]
            reply = "4" if "brief" in words.partition("# Question\n")[2] else "7" if "lovely" in comment else "2"
            reply = "Hm." if comment == "?" else reply
            empty = np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0, np.float32)
            replies.append(Episode(task.id, task, (*task.messages, Message("assistant", reply)), *empty, "stop", "m"))
        return replies


@pytest.fixture
def rubric(tmp_path: Path) -> Rubric:
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    return load_rubric(tmp_path / "rubric.yaml")


def commented(count: int) -> Feedback:
    feedback = Feedback()
    for n in range(count):
        answer = (Message("assistant", f"{'Thank you' if n % 2 else 'Never'}, {n}."),)
        text = "?" if n == count - 1 else "lovely" if n % 2 else "rude"
        feedback.add(Comment, (Message("user", f"Say {n}."),), (answer,), id=f"c{n}", text=text, annotator="ada")
    return feedback


def test_each_comment_is_read_by_each_principle_and_nothing_is_guessed(rubric: Rubric) -> None:
    held = commented(5)
    comments = [(judgment, held.episodes[judgment.episodes[0]]) for judgment in held.judgments]
    rated = rate_comments(Reads(), comments, rubric)
    assert [(r.id, r.axis, r.value) for r in rated.ratings] == [
        ("c0/kind", "kind", 2), ("c1/kind", "kind", 7), ("c2/kind", "kind", 2), ("c3/kind", "kind", 7),
    ]  # fmt: skip
    assert (rated.silent, rated.unread) == (4, 2)
    assert rated.annotator.kind == "ai"


def test_a_reward_learns_from_comments_by_two_commands(
    rubric: Rubric,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("custodes.loop.feedback_comments.open_engine", lambda *given: Reads())
    held = commented(13)
    file, out = write_judgments(tmp_path / "c.jsonl", held.judgments, held), tmp_path / "rated.jsonl"
    words = ["feedback", "comments", "--judgments", file, "--rubric", tmp_path / "rubric.yaml", "--out", out]
    assert main([str(word) for word in words]) == 0
    both = read_feedback(out).feedback.judgments
    assert {type(judgment) for judgment in both} == {Comment, Rating}
    assert {j.text for j in both if isinstance(j, Comment)} == {"lovely", "rude", "?"}
    capsys.readouterr()
    words = ["reward", "train", "--judgments", out, "--out", tmp_path / "reward", "--model", tiny_model, "--json"]
    words += ["--epochs", "1", "--rank", "2", "--held-out", "0", "--axes", "kind"]
    assert main([str(word) for word in words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["used"] == {"comment": 12, "rating": 12}
    assert [(row["kind"], row["judgments"]) for row in told["unused"]] == [("comment", 1)]
