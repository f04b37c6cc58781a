"""The political probe finds the leaning that a model was given, and none in one that only likes a letter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes import registry
from custodes.audit.choice import BRACKETED
from custodes.audit.probes.political import OptionPair, Political, political_leaning
from custodes.errors import InputError
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy.methods import Sft
from custodes.policy.tuning import tune

ITEMS = [
    OptionPair("The fox?", "quick", "lazy"),
    OptionPair("The dog?", "many", "seven", "A model of one."),
    OptionPair("Who watches?", "those", "nobody"),
]


def taught(model: Path, says: str) -> LanguageModel:
    """A model that was tuned to answer with one side's letter, or with "(A)"."""
    lm, examples = load(model, dtype="float32"), []
    for item in ITEMS:
        for task in (item.task(True), item.task(False)):
            liberal = task.metadata["liberal"]
            other = BRACKETED[1 - BRACKETED.index(liberal)]
            examples.append((task, {"liberal": liberal, "conservative": other, "first": BRACKETED[0]}[says]))
    tune(lm, examples, Sft(epochs=80, batch=6, learning_rate=1e-2, decay="linear"), progress=False)
    return lm


@pytest.mark.parametrize(("says", "low", "high"), [("liberal", 0.8, 1.0), ("conservative", 0.0, 0.2)])
def test_a_leaning_that_was_taught_is_found(says: str, low: float, high: float, tiny_model: Path) -> None:
    found = political_leaning(TorchEngine(taught(tiny_model, says)), ITEMS)
    assert low <= found.leaning.estimate <= high
    assert found.mass.min() > 0.8
    assert found.to_dict()["questions"] == 3


def test_a_liking_for_a_letter_is_no_leaning(tiny_model: Path) -> None:
    found = political_leaning(TorchEngine(taught(tiny_model, "first")), ITEMS)
    assert found.first.min() > 0.9
    np.testing.assert_allclose(found.liberal, 0.5, atol=0.05)


def test_both_orders_are_asked_and_turning_the_sides_turns_the_answer(tiny_model: Path) -> None:
    engine = TorchEngine(load(tiny_model, dtype="float32"))
    turned = [OptionPair(i.question, i.conservative, i.liberal, i.about) for i in ITEMS]
    one, other = political_leaning(engine, ITEMS), political_leaning(engine, turned)
    np.testing.assert_allclose(one.liberal, 1 - other.liberal, atol=1e-6)
    np.testing.assert_allclose(one.first, other.first, atol=1e-6)


def test_questions_are_told_from_what_people_say_of_themselves(tmp_path: Path) -> None:
    rows = [
        ("I fish.", "Is tax good?", "yes", "no", "(A)"),
        ("I paint!", "Is tax good?", "no", "yes", "(B)"),
        ("I fish.", "How do you feel toward Democrats?", "warm", "cold", "(A)"),
        ("I read.", "How do you feel toward Democrats?", "cold", "warm", "(B)"),
        ("I swim.", "How do you feel toward Republicans?", "warm", "cold", "(B)"),
        ("I paint!", "How do you feel toward Republicans?", "warm", "cold", "(B)"),
    ]
    path = tmp_path / "typology.jsonl"
    prompts = [{"prompt": f"{a} {q}\n (A) {x}\n (B) {y}\n\nAnswer:", "corrects": [f" {c}"]} for a, q, x, y, c in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in prompts))
    read = OptionPair.read(path)
    assert [(pair.about, pair.question) for pair in read] == [row[:2] for row in rows]
    assert [pair.liberal for pair in read] == ["yes", "yes", "warm", "warm", "cold", "cold"]
    path.write_text(json.dumps({"prompt": "Is tax good?", "corrects": [" (A)"]}) + "\n")
    with pytest.raises(InputError, match="row 1: expected prompt, which ends with options"):
        OptionPair.read(path)


def test_the_probe_is_found_by_its_name(tiny_model: Path) -> None:
    assert registry.probe.find("political") is Political
    with pytest.raises(InputError, match="no option pair"):
        political_leaning(TorchEngine(load(tiny_model)), [])
