"""Where to look: reading, scoring, training, calibration."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from custodes.critic.line_training import (
    KnownBug,
    LineConfig,
    LineStep,
    calibrate_lines,
    evaluate_lines,
    train_lines,
)
from custodes.critic.lines import LineScorer, new_line_scorer
from custodes.lm import Adapter, AdapterConfig, LanguageModel, load
from custodes.types import InputError

CODE = "def f(a):\n    b = a + 1\n\n    return b"
CONFIG = LineConfig(rank=4, alpha=8, epochs=6, batch=16, learning_rate=1e-2, head_learning_rate=1e-2)


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


@pytest.fixture
def blank(lm: LanguageModel) -> LineScorer:
    adapted = replace(lm, adapter=Adapter(lm.decoder, AdapterConfig(rank=2)), _fingerprint="")
    return new_line_scorer(adapted)


def examples(count: int, seed: int = 0) -> list[KnownBug]:
    """A bug is a line that says so; a third is clean."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        lines = ["def f(x):", *(f"    {draw.choice('abcd')} = {draw.randint(0, 9)}" for _ in range(draw.randint(2, 5)))]
        if draw.random() < 1 / 3:
            made.append(KnownBug("\n".join(lines)))
            continue
        at = draw.randrange(1, len(lines))
        lines[at] = "    q - zz"
        made.append(KnownBug("\n".join(lines), (at + 1,)))
    return made


def test_a_reading_holds_the_code_twice_and_its_ends_are_the_second_ones(blank: LineScorer) -> None:
    reading = blank.read(CODE)
    text = blank.lm.tokenizer.decode(reading.tokens)
    assert text.count(CODE) == 2
    assert len(reading.ends) == 5
    assert reading.ends[-1] == len(reading.tokens) - 1
    for k, end in enumerate(reading.ends[:-1]):
        assert blank.lm.tokenizer.decode(reading.tokens[: end + 1]).endswith(
            "\n".join(CODE.split("\n")[: k + 1]) + "\n"
        )
        assert blank.lm.tokenizer.decode(reading.tokens[: end + 1]).count("def f(a):\n") == 2


def test_scores_are_probabilities_and_blank_lines_have_none(blank: LineScorer) -> None:
    (scores,) = blank.scores([CODE])
    assert scores.lines.shape == (4,)
    assert scores.lines.sum() + scores.none == pytest.approx(1)
    assert scores.lines[2] == 0
    assert set(scores.order().tolist()) == {1, 2, 3, 4}


def test_a_function_is_scored_the_same_alone_and_among_others(blank: LineScorer) -> None:
    codes = [e.code for e in examples(9)]
    together = blank.scores(codes)
    for code, scores in zip(codes, together, strict=True):
        alone = blank.scores([code])[0]
        np.testing.assert_allclose(scores.lines, alone.lines, atol=1e-5)
        assert scores.none == pytest.approx(alone.none, abs=1e-5)


def test_a_function_that_does_not_fit_is_scored_in_pieces(blank: LineScorer) -> None:
    blank.max_tokens = 160
    long = "\n".join(f"    a{i} = {i}" for i in range(40)) + "\n" + "x" * 500
    (scores,) = blank.scores([long])
    assert scores.lines.shape == (41,)
    assert scores.lines.sum() + scores.none == pytest.approx(1)
    assert (scores.lines > 0).all()


def test_the_empty_file_is_clean(blank: LineScorer) -> None:
    (scores,) = blank.scores([""])
    assert scores.none == pytest.approx(1)


def test_bugs_that_can_be_seen_are_found_where_they_are(lm: LanguageModel) -> None:
    seen: list[LineStep] = []
    scorer = train_lines(lm, examples(300), CONFIG, on_step=seen.append)
    before = evaluate_lines(
        train_lines(lm, examples(16), replace(CONFIG, epochs=1, learning_rate=1e-9, head_learning_rate=1e-9)),
        examples(90, 1),
    )
    after = evaluate_lines(scorer, examples(90, 1))
    assert after.at_1.low > before.at_1.high
    assert after.at_1.low > after.chance
    assert seen[-1].loss < seen[0].loss / 2
    assert [s.step for s in seen] == list(range(1, seen[-1].steps + 1))
    assert lm.adapter is None  # the model that was given is as it was


def test_micro_batches_do_not_change_what_is_learned(lm: LanguageModel) -> None:
    config = replace(CONFIG, epochs=1, learning_rate=1e-3)
    one, many = (train_lines(lm, examples(24), replace(config, micro_tokens=n)) for n in (100_000, 64))
    for a, b in zip(one.lm.trainable(), many.lm.trainable(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_an_interrupted_training_ends_as_the_straight_one(lm: LanguageModel, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, checkpoint_every=2)
    straight = train_lines(lm, examples(80), config)

    def stop(step: LineStep) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_lines(lm, examples(80), config, checkpoints=tmp_path, on_step=stop)
    again: list[int] = []
    resumed = train_lines(lm, examples(80), config, checkpoints=tmp_path, on_step=lambda s: again.append(s.step))
    assert again[0] == 3
    for a, b in zip([*straight.lm.trainable(), straight.head], [*resumed.lm.trainable(), resumed.head], strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match="another run"):
        train_lines(lm, examples(80, 5), config, checkpoints=tmp_path)


def test_calibration_bounds_false_alarms_and_changes_no_order(lm: LanguageModel) -> None:
    scorer = train_lines(lm, examples(100), replace(CONFIG, epochs=2))
    held_out = examples(120, 2)
    order = [s.order().tolist() for s in scorer.scores([e.code for e in held_out])]
    calibrate_lines(scorer, held_out, 0.2)
    assert [s.order().tolist() for s in scorer.scores([e.code for e in held_out])] == order
    assert evaluate_lines(scorer, held_out).false_alarms.estimate <= 0.2
    with pytest.raises(InputError, match="both clean"):
        calibrate_lines(scorer, [KnownBug(CODE, (1,))])


def test_what_is_saved_is_what_is_loaded(lm: LanguageModel, tmp_path: Path) -> None:
    scorer = train_lines(lm, examples(40), replace(CONFIG, epochs=1))
    scorer.temperature, scorer.threshold = 1.7, 0.3
    scorer.save(tmp_path)
    again = LineScorer.load(tmp_path, dtype="float32")
    assert (again.temperature, again.threshold) == (1.7, 0.3)
    for a, b in zip(scorer.scores([CODE]), again.scores([CODE]), strict=True):
        np.testing.assert_allclose(a.lines, b.lines, atol=1e-6)


def test_what_cannot_be_learned_from_is_one_sentence(lm: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 1 examples fits"):
        train_lines(lm, [KnownBug(CODE * 50)], replace(CONFIG, max_tokens=64))
    with pytest.raises(InputError, match="lines count from 1"):
        train_lines(lm, [KnownBug(CODE, (9,))], CONFIG)
    with pytest.raises(InputError, match="batch is 0"):
        LineConfig(batch=0)
    with pytest.raises(InputError, match="no line scorer"):
        LineScorer.load(tmp_path)
    with pytest.warns(UserWarning, match="1 of 17 examples"):
        train_lines(lm, [*examples(16), KnownBug(CODE * 50)], replace(CONFIG, epochs=1, max_tokens=256))
