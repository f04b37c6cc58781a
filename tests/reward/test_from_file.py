"""From a file of preferences to a saved reward model and its evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_rewards import make_pairs, small
from transformers import AutoModelForSequenceClassification

from custodes.feedback.formats import write_preferences
from custodes.recipes.reward_from_file import (
    EvaluateFromFile,
    TrainFromFile,
    evaluate_from_file,
    split_by_prompt,
    train_from_file,
)
from custodes.types import InputError


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    return write_preferences(tmp_path / "pairs.jsonl", make_pairs(100))


def test_train_save_evaluate(tiny_model: Path, preferences: Path, tmp_path: Path) -> None:
    out, steps = tmp_path / "reward", []
    config = TrainFromFile(
        preferences=preferences,
        out=out,
        model=str(tiny_model),
        rows=":60",
        held_out=0.2,
        dtype="float32",
        training=small("heads", epochs=4),
    )
    model, held_out = train_from_file(config, on_step=steps.append)
    assert held_out.accuracy.n == 12
    assert steps[-1].step == steps[-1].steps == 40
    assert not (out / "checkpoints").exists()
    evaluation = evaluate_from_file(EvaluateFromFile(model=out, preferences=preferences, rows="60:", dtype="float32"))
    assert evaluation.accuracy.n == 40
    assert evaluation.accuracy.low > 0.7
    assert evaluation.temperature == pytest.approx(model.temperature)
    record = json.loads((out / "training.json").read_text())
    assert (record["pairs"], record["training"]["members"]) == (48, 3)
    assert AutoModelForSequenceClassification.from_pretrained(out).num_labels == 3


@pytest.mark.parametrize(("rows", "said"), [("5", "is no range"), ("200:", "are empty"), ("a:b", "is no range")])
def test_rows_that_are_none_are_refused(
    tiny_model: Path, preferences: Path, tmp_path: Path, rows: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        evaluate_from_file(EvaluateFromFile(model=tiny_model, preferences=preferences, rows=rows))


def test_an_output_folder_that_cannot_be_written_is_said_before_training(
    tiny_model: Path, preferences: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        train_from_file(TrainFromFile(preferences=preferences, out=tmp_path / "taken", model=str(tiny_model)))


def test_pairs_of_one_prompt_stay_on_one_side() -> None:
    pairs = make_pairs(20) * 3
    training, held_out = split_by_prompt(pairs, 0.25, seed=0)
    assert len(held_out) == 15
    assert len(training) == 45
    assert not {p.prompt for p in training} & {p.prompt for p in held_out}
