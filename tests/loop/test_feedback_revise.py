"""A model criticises and revises its own answers: what is asked, what is kept, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.feedback.formats import read_preferences
from custodes.types import Episode, Message, Sampling, Task

RUBRIC = """
name: manners
version: "1"
principles:
  - {name: kind, text: "The answer says please."}
  - {name: short, text: "The answer has no full stop."}
"""


class Scholar:
    """Answers in capitals, and holds to a principle once it was told of it. Some prompts break it off, or leave it cold."""

    def __init__(self, breaks_at: int = -1) -> None:
        self.asked: list[str] = []
        self.breaks_at = breaks_at

    def generate(self, tasks: Sequence[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        return [Episode.written(t.id, t, (*t.messages, Message("assistant", self._reply(t))), "scholar") for t in tasks]

    def _reply(self, task: Task) -> str:
        if len(self.asked) == self.breaks_at:
            raise KeyboardInterrupt
        text = task.messages[0].content
        self.asked.append(text)
        if "# Statement" in text:
            principle, answer = text.split("# Statement")[1], text.split("# Answer\nassistant: ")[1].split("\n\n#")[0]
            return "Yes" if ("please" in answer if "please" in principle else "." not in answer) else "No"
        if "# Principle" not in text:
            return f"ANSWER TO {text}."
        answer = text.split("# Answer\n")[1].split("\n\n# Principle")[0]
        if len(task.messages) == 1:
            return f"It is wrong in {answer[:9]}"
        if "cold" in text:
            return answer
        return f"please, {answer}" if "says please" in text else answer.replace(".", "")


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    prompts = [f"prompt {i}" for i in range(40)] + ["cold"]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    names = {"tasks": "prompts.jsonl", "rubric": "rubric.yaml", "out": "pairs.jsonl", "demonstrations-out": "sft.jsonl"}
    return ["feedback", "revise", *(w for name, file in names.items() for w in (f"--{name}", str(tmp_path / file)))]


def revise(monkeypatch: pytest.MonkeyPatch, scholar: Scholar, words: list[str]) -> int:
    monkeypatch.setattr("custodes.loop.feedback_revise.open_engine", lambda *args, **options: scholar)
    return main(words)


def test_revisions_are_preferred_and_become_demonstrations(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert revise(monkeypatch, Scholar(), [*given, "--revisions", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["unchanged"]) == (40, 1)
    assert summary["grade"]["estimate"] == 1.0  # both principles held after two revisions, none before
    pairs = read_preferences(tmp_path / "pairs.jsonl")
    assert {pair.rejected[0].content for pair in pairs} == {f"ANSWER TO prompt {i}." for i in range(40)}
    assert {pair.chosen[0].content for pair in pairs} == {f"please, ANSWER TO prompt {i}" for i in range(40)}
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert {row["comment"].split(":")[0] for row in rows} == {"kind", "short"}  # the order is drawn for each prompt
    shown = [json.loads(line) for line in (tmp_path / "sft.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in shown] == [row["chosen"] for row in rows]


def test_an_interrupted_revision_goes_on_to_the_same_result(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert revise(monkeypatch, Scholar(), given) == 0
    straight = (tmp_path / "pairs.jsonl").read_bytes()
    words = [w.replace("pairs.jsonl", "again.jsonl") for w in given]
    first = Scholar(breaks_at=100)
    assert revise(monkeypatch, first, words) == 130
    assert not (tmp_path / "again.jsonl").exists()
    rest = Scholar()
    assert revise(monkeypatch, rest, words) == 0
    assert (tmp_path / "again.jsonl").read_bytes() == straight
    assert "prompt 0" not in rest.asked  # what was known was not asked again
    assert "prompt 39" in rest.asked


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tasks", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--n", "2"], "one answer is revised for each prompt"),
        (["--rubric", "nowhere.yaml"], "rubric nowhere.yaml cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str],
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert revise(monkeypatch, Scholar(), [*given, *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_model_that_changes_nothing_is_said(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "cold"}\n')
    assert revise(monkeypatch, Scholar(), given) == 2
    assert "changed none of its 1 answers" in capsys.readouterr().err
    assert not (tmp_path / "pairs.jsonl").exists()
