"""Demonstrations teach a reward by what a policy says in their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.ledger import Ledger
from custodes.lm.engine import TorchEngine

WORDS = ["who", "watches", "the", "quick", "brown", "fox", "and", "those", "seven", "small", "random", "models"]


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    rows = [{"prompt": f"{w} {v}", "completion": f"{v} the fox"} for w in WORDS[:4] for v in WORDS[:5]]
    path = tmp_path / "shown.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train(judgments: Path, out: Path, model: Path, *more: str) -> int:
    words = ["reward", "train", "--judgments", judgments, "--against", model, "--out", out, "--model", model]
    few = ["--epochs", "1", "--rank", "2", "--policy-steps", "1", "--reply-tokens", "48", "--held-out", "0.2"]
    return main([str(word) for word in [*words, *few, *more]])


def test_each_round_adds_samples_of_a_policy_that_learned(
    demonstrations: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(demonstrations, tmp_path / "out", tiny_model, "--rounds", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["used"].keys() == {"comparison"}
    assert found["unused"] == []
    longer = [name for name in found["measures"] if name.startswith("demonstration longer")]
    assert len(longer) == 2
    assert (tmp_path / "out" / "round-1" / "policy").is_dir()
    with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
        policies = {episode.policy for episode in ledger.episodes(ledger.runs()[-1].id)}
    assert len(policies) == 2  # the model as it was, and the one that learned
    assert train(demonstrations, tmp_path / "out", tiny_model, "--rounds", "2", "--json") == 0  # found, not made again
    again = json.loads(capsys.readouterr().out)
    assert again["measures"] == found["measures"]


@pytest.mark.parametrize("more", [(), ("--full", "--learning-rate", "1e-3")], ids=["adapter", "full"])
def test_an_interrupted_round_goes_on_to_the_same_reward(
    more: tuple[str, ...], demonstrations: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all weights too: the straight run's second round begins with the model as it came, as the resumed one's does."""
    more = ("--rounds", "2", *more)
    assert train(demonstrations, tmp_path / "straight", tiny_model, *more) == 0
    drawn, calls = TorchEngine.generate, []

    def breaks_off(engine: TorchEngine, *given: object, **options: object) -> object:
        calls.append(given)
        if len(calls) == 3:  # base model, the policy's step, and now the second round's samples
            raise KeyboardInterrupt
        return drawn(engine, *given, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(TorchEngine, "generate", breaks_off)
        assert train(demonstrations, tmp_path / "broken", tiny_model, *more) == 130
    assert train(demonstrations, tmp_path / "broken", tiny_model, *more) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "broken")]
    assert weights[0] == weights[1]


def test_bad_input_is_one_sentence(
    demonstrations: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reward", "train", "--judgments", str(demonstrations), "--model", str(tiny_model), "--out"]
    assert main([*words, str(tmp_path / "alone")]) == 2
    assert "--against MODEL" in capsys.readouterr().err
    assert train(demonstrations, tmp_path / "cut", tiny_model, "--reply-tokens", "1") == 2
    assert "raise --reply-tokens from 1" in capsys.readouterr().err
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": "who", "chosen": "the fox", "rejected": "a fox"}) + "\n")
    assert train(pairs, tmp_path / "pairs", tiny_model) == 2
    assert "hold no demonstration" in capsys.readouterr().err
