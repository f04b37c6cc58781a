"""Replies on the command line: from a prompt, from a table, from a run, the best of several, from an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.loop.policy_sample import PolicySample, policy_sample
from custodes.tables import read_rows
from custodes.types import InputError, Sampling


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Say {i}.", "topic": str(i)}) + "\n" for i in range(4))
    )
    (tmp_path / "rewards.py").write_text(
        "def long(completions, **columns):\n    return [float(len(c)) for c in completions]\n"
    )
    return tmp_path


def sample(world: Path, model: Path | str, **more: object) -> PolicySample:
    return PolicySample(model=str(model), sampling=Sampling(max_tokens=8), **more)  # type: ignore[arg-type]


def test_a_prompt_is_answered(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "sample", "--prompt", "Who watches?", "--model", str(tiny_model), "--max-tokens", "4", "-n", "2"]
    assert main([*words, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2
    assert rows[0]["prompt"] == [{"role": "user", "content": "Who watches?"}]


def test_a_table_is_answered_into_a_table_with_scores(world: Path, tiny_model: Path) -> None:
    own = sample(
        world,
        tiny_model,
        tasks=str(world / "prompts.jsonl"),
        out=world / "replies.jsonl",
        reward=(f"{world}/rewards.py:long",),
    )
    done = policy_sample(own)
    rows = [row.values for row in read_rows(world / "replies.jsonl")]
    assert [row["score"] for row in rows] == [row["score"] for row in done]
    assert [row["score"] for row in rows] == [len(row["completion"][0]["content"]) for row in rows]


def test_the_best_of_several_is_at_least_as_good(world: Path, tiny_model: Path) -> None:
    own = {"tasks": str(world / "prompts.jsonl"), "reward": (f"{world}/rewards.py:long",)}
    one, best = (policy_sample(sample(world, tiny_model, best_of=n, **own)) for n in (1, 8))
    assert len(best) == len(one) == 4
    assert sum(row["score"] for row in best) > sum(row["score"] for row in one)
    with pytest.raises(InputError, match="needs a --reward"):
        policy_sample(sample(world, tiny_model, prompt="Hello", best_of=4))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "takes --prompt TEXT or --tasks FILE"),
        ({"prompt": "a", "engine": "endpoint", "adapter": Path("x")}, "takes no --adapter"),
        ({"prompt": "a", "engine": "endpoint"}, "names no model"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(world: Path, tiny_model: Path, more: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        policy_sample(sample(world, tiny_model, **more))
