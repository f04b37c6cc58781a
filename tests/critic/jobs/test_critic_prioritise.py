"""Which pairs of a preference dataset deserve a second look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custodes.cli import main
from custodes.critic.jobs import prioritise as critic_prioritise
from custodes.critic.jobs.prioritise import _faults, _turned
from custodes.critic.review.answers import as_asked
from custodes.feedback.formats import write_preferences
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.loading import load
from custodes.reward import RewardModel, save_reward
from custodes.reward.model import new_heads
from custodes.types import Episode, Message, PreferencePair, Scores

WORDS = ("fox", "dog", "seven", "model", "watch", "number", "short", "lazy", "quick", "brown")


def pairs(count: int) -> list[PreferencePair]:
    """The better answer says "thanks", the worse one "never"."""
    draw = np.random.default_rng(0)

    def said(last: str) -> tuple[Message]:
        return (Message("assistant", f"{' '.join(draw.choice(WORDS, 3))} {last}"),)

    return [
        PreferencePair((Message("user", f"{i} {' '.join(draw.choice(WORDS, 4))}"),), said("thanks"), said("never"))
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_preferences(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", pairs(80))


def told(capsys: pytest.CaptureFixture[str], *command: str) -> dict:
    assert main(["critic", "prioritise", *command, "--dtype", "float32", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_labels_that_were_turned_on_purpose_come_first(
    file: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = [
        "--epochs",
        "3",
        "--batch-pairs",
        "8",
        "--learning-rate",
        "0.01",
        "--head-learning-rate",
        "0.03",
        "--rank",
        "4",
    ]
    out = tmp_path / "ranking.jsonl"
    command = ["--judgments", str(file), "--out", str(out), "--model", str(tiny_model), "--flip", "0.15", *fast]
    found = told(capsys, *command)
    assert found["found"]["low"] > 0.6
    assert found["found"]["n"] == 80
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["rank"] for r in rows] == list(range(1, 81))
    assert sorted(r["line"] for r in rows) == list(range(1, 81))
    assert sum(r["flipped"] for r in rows) == found["flipped"]
    margins = [r["margin"] for r in rows]
    assert margins == sorted(margins, reverse=True)
    assert all(0 <= r["overturned"] <= 1 for r in rows)
    assert "fox" not in out.read_text()


def test_words_alone_find_labels_that_words_tell(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--judgments", str(file), "--out", str(tmp_path / "r.jsonl"), "--model", "words", "--flip", "0.15"]
    assert told(capsys, *command)["found"]["low"] > 0.8
    assert main(["critic", "prioritise", *command]) == 0
    assert "labels were turned on purpose" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tuned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, lm = tmp_path_factory.mktemp("tuned"), load(tiny_model, dtype="float32")
    Adapter(lm.decoder, AdapterConfig(rank=2)).save(folder / "rl", lm.name)
    save_reward(RewardModel(lm, new_heads([0], lm.decoder.spec.hidden, lm.decoder.device)), folder / "reward")
    return folder


def test_a_reward_or_a_critic_with_its_reward_looks_again(
    file: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--judgments", str(file), "--out", str(tmp_path / "r.jsonl"), "--rows", "0:4"]
    by_reward = told(capsys, *command, "--reward", str(tuned / "reward"))
    assert (by_reward["pairs"], by_reward["second_look"]) == (4, "reward reward")
    assert "flipped" not in json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])
    by_critic = told(capsys, *command, "--critic", str(tuned), "--max-tokens", "8")
    assert by_critic["second_look"].startswith("critic ")


def test_answers_that_were_criticised_are_not_criticised_again(
    file: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked, really = tmp_path / "r.jsonl", list[int](), critic_prioritise._faults

    def counted(writer: Any, reward: Any, answers: Sequence[Any], *how: Any) -> Any:
        asked.append(len(answers))
        return really(writer, reward, answers, *how)

    monkeypatch.setattr(critic_prioritise, "_faults", counted)
    command = ["--judgments", str(file), "--out", str(out), "--critic", str(tuned), "--max-tokens", "8"]
    told(capsys, *command, "--rows", "0:4")
    few = {row["line"]: row["margin"] for row in map(json.loads, out.read_text().splitlines())}
    told(capsys, *command, "--rows", "0:6")
    assert asked == [8, 4]
    many = {row["line"]: row["margin"] for row in map(json.loads, out.read_text().splitlines())}
    assert few.items() <= many.items()


def test_an_answer_is_at_fault_as_far_as_the_reward_likes_a_critique_better_than_none(tiny_model: Path) -> None:
    class Brief:
        """Likes "No problems found.", and else what is short."""

        def score(self, episodes: Sequence[Episode]) -> Scores:
            said = [e.completion for e in episodes]
            return Scores(np.array([5.0 if "No problems" in s else -len(s) / 100 for s in said]))

    lm = load(tiny_model, dtype="float32")
    answers = [as_asked("How?", "Like this."), as_asked("How?", "word " * 2000)]
    found = _faults(lm, Brief(), answers, samples=2, max_tokens=8, seed=0)
    assert found[0] < -4
    assert found[1] == 0  # does not fit


def test_turning_twice_is_turning_not_at_all() -> None:
    (pair,) = pairs(1)
    assert _turned(_turned(pair)) == pair
    assert _turned(pair).chosen == pair.rejected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--reward", "a", "--critic", "b"), "not both"),
        (("--folds", "1"), "folds is 1; it must be 2 or more"),
        (("--flip", "1"), "flip is 1"),
        (("--critic", "nowhere"), "holds no critic with a reward"),
        (("--rows", "0:1"), "1 prompts for 2 folds"),
    ],
)
def test_bad_input_is_one_sentence(
    options: tuple[str, ...], sentence: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["critic", "prioritise", "--judgments", str(file), "--out", str(tmp_path / "x.jsonl")]
    assert main([*command, *options]) == 2
    assert sentence in capsys.readouterr().err
