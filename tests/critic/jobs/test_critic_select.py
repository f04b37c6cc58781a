"""Preferring bugs that a critic misses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import custodes.critic.jobs.select as recipe
from custodes.cli import main
from custodes.critic.examples import Bug, BugExample, read_bug_examples, write_json_lines
from custodes.critic.jobs.select import CriticSelect, critic_select
from custodes.types import InputError


def example(i: int, operator: str = "sign") -> BugExample:
    code = f"def f(x):\n    a = x - {i}\n    return a"
    bugs = (Bug(operator, (2,), "The sign is wrong: `-` instead of `+`.", f"    a = x + {i}"),) if operator else ()
    name = f"{operator}{i}"
    return BugExample(
        name, code, (2,) if bugs else (), "", bugs, "test" if bugs else "clean", "train", name, "p", "p.py", "f", "MIT"
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [example(i, "sign" if i % 2 else "bound") for i in range(40)] + [example(i, "") for i in range(100, 120)]
    write_json_lines(tmp_path / "bugs.jsonl", rows)
    return tmp_path / "bugs.jsonl"


def test_the_most_often_missed_are_kept_with_their_share_of_clean_ones(
    data: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def easy_signs(config: CriticSelect, lm: object, part: Sequence[BugExample]) -> list[list[float]]:
        return [[0.0, 1.0] if e.bugs[0].operator == "sign" else [2.0, 1 / 3] for e in part]

    monkeypatch.setattr(recipe, "_criticised", easy_signs)
    told = critic_select(CriticSelect(data=data, out=tmp_path / "hard.jsonl", model=str(tiny_model)))
    kept = list(read_bug_examples(tmp_path / "hard.jsonl"))
    assert [e.bugs[0].operator for e in kept if e.bugs] == ["bound"] * 20
    assert sum(not e.bugs for e in kept) == 10
    assert told["missed_at_least_once"]["estimate"] == 0.5
    assert told["cbi_after"]["estimate"] < told["cbi_before"]["estimate"]
    assert told["by_operator"]["bound"]["estimate"] == 1


def test_a_real_critic_and_what_was_done_is_not_done_again(
    data: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CriticSelect(data=data, out=tmp_path / "hard.jsonl", model=str(tiny_model), max_tokens=12)
    plain, calls = recipe._criticised, []

    def stops(c: CriticSelect, lm: object, part: list[BugExample]) -> list[list[float]]:
        calls.append(len(part))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(c, lm, part)  # type: ignore[arg-type]

    monkeypatch.setattr(recipe, "_criticised", stops)
    with pytest.raises(KeyboardInterrupt):
        critic_select(config)
    assert not config.out.exists()
    told = critic_select(config)
    assert sum(calls) == 40 + 16  # one part was begun twice
    assert told["missed_at_least_once"]["estimate"] == 1  # the tiny model writes noise
    straight = critic_select(replace(config, out=tmp_path / "other.jsonl"))
    assert straight == told
    assert config.out.read_text() == (tmp_path / "other.jsonl").read_text()


def test_a_scorer_of_lines_can_be_the_critic(data: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = CriticSelect(data=data, out=tmp_path / "hard.jsonl", model=str(tiny_model), critic="likelihood")
    told = critic_select(config)
    assert (told["kept"], told["critic"]["scorer"]) == (20, "likelihood")
    missed = told["missed_at_least_once"]["estimate"]
    assert told["cbi_before"]["estimate"] == pytest.approx(1 - missed)  # one bug each: found or missed
    assert told["cbi_after"]["estimate"] <= told["cbi_before"]["estimate"]


def test_a_folder_of_critic_tune_can_be_the_critic(data: Path, tmp_path: Path, tuned: Path) -> None:
    config = CriticSelect(
        data=data, out=tmp_path / "hard.jsonl", critic=str(tuned), max_tokens=4, samples=1, examples=3
    )
    assert critic_select(config)["tried"] == 3
    with pytest.raises(InputError, match="no critic"):
        critic_select(replace(config, critic=str(tmp_path)))


def test_bad_input_is_one_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="keep is 0"):
        CriticSelect(data=data, out=tmp_path / "x", keep=0)
    assert main(["critic", "select", "--data", str(data), "--out", str(tmp_path / "x"), "--split", "none"]) == 2
    assert "no tampered example of split 'none'" in capsys.readouterr().err
    assert json.loads(data.read_text().split("\n")[0])["split"] == "train"
