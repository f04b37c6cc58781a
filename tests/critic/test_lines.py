"""Where to look: reading, scoring, training, calibration."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scored_lines import WordScorer

from custodes.critic.families import Family, KnownBug, families_of
from custodes.critic.line_training import LineConfig, calibrate_lines, evaluate_lines, train_lines
from custodes.critic.lines import LineScorer, LineShape, new_line_scorer
from custodes.critic.reader import CodeReader
from custodes.critic.suspicions import SUSPICIONS
from custodes.lm.loading import LanguageModel, load
from custodes.lm.packing import pack
from custodes.train import TrainStep
from custodes.types import InputError

CODE = "def f(a):\n    b = a + 1\n\n    return b"
SHAPE = LineShape(layers=2, tuned=1, rank=4, alpha=8, width=64, reader_layers=1)
CONFIG = LineConfig(shape=SHAPE, passes=4, batch=16, learning_rate=1e-2, adapter_learning_rate=1e-2)


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


@pytest.fixture
def blank(lm: LanguageModel) -> LineScorer:
    return new_line_scorer(lm, SHAPE)


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
        made.append(KnownBug("\n".join(lines), (at + 1,), ("wrong_variable",)))
    return made


def families(count: int, seed: int = 0) -> list[Family]:
    """Every example a function of its own."""
    return families_of((str(i), e) for i, e in enumerate(examples(count, seed)))


def test_each_line_of_a_reading_ends_where_it_says(blank: LineScorer) -> None:
    reading = blank.read(CODE)
    assert blank.lm.tokenizer.decode(reading.tokens).endswith(f"{CODE}\n")
    assert len(reading.ends) == 4
    for k, end in enumerate(reading.ends):
        text = blank.lm.tokenizer.decode(reading.tokens[: end + 1])
        assert text.endswith("\n".join(CODE.split("\n")[: k + 1]) + "\n")


def test_a_reader_sees_what_follows_and_nothing_of_other_sequences() -> None:
    reader = CodeReader(8, 64, 2, 3)
    for parameter in reader.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    draw = torch.Generator().manual_seed(0)
    ids = [np.arange(n, dtype=np.int32) for n in (3, 7, 300)]
    batch, states = pack(ids), torch.randn(310, 8, generator=draw)
    out = reader(states, batch)
    for start, end in ((0, 3), (3, 10), (10, 310)):
        alone = reader(states[start:end], pack([np.arange(end - start, dtype=np.int32)]))
        torch.testing.assert_close(out[start:end], alone, atol=1e-4, rtol=1e-4)
    later = states.clone()
    later[9] += 1  # the last token of the second sequence
    moved = (reader(later, batch) - out).abs().amax(-1)
    assert (moved[3:10] > 1e-4).all()
    assert (moved[:3] < 1e-6).all()
    assert (moved[10:] < 1e-6).all()


def test_gradients_of_a_reader_are_those_of_differences() -> None:
    reader = CodeReader(4, 64, 1, 1).double()
    for parameter in reader.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch = pack([np.arange(3, dtype=np.int32), np.arange(2, dtype=np.int32)])
    weight = torch.randn(5, 64, dtype=torch.float32, generator=torch.Generator().manual_seed(1))
    reader.float()
    states = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    (reader(states, batch) * weight).sum().backward()
    assert states.grad is not None
    step = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        up, down = ((reader(states + s * step, batch) * weight).sum() for s in (1e-2, -1e-2))
    assert float((states.grad * step).sum()) == pytest.approx(float(up - down) / 2e-2, rel=0.02)


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
    blank.max_tokens = 80
    long = "\n".join(f"    a{i} = {i}" for i in range(40)) + "\n" + "x" * 500
    (scores,) = blank.scores([long])
    assert scores.lines.shape == (41,)
    assert scores.lines.sum() + scores.none == pytest.approx(1)
    assert (scores.lines > 0).all()


def test_the_empty_file_is_clean(blank: LineScorer) -> None:
    (scores,) = blank.scores([""])
    assert scores.none == pytest.approx(1)


def test_an_untrained_scorer_prefers_no_line(blank: LineScorer) -> None:
    (scores,) = blank.scores([CODE])
    assert scores.lines[[0, 1, 3]] == pytest.approx(np.full(3, scores.lines[0]))


def test_bugs_that_can_be_seen_are_found_where_they_are(lm: LanguageModel) -> None:
    seen: list[TrainStep] = []
    scorer = train_lines(lm, families(300), CONFIG, on_step=seen.append)
    before = evaluate_lines(new_line_scorer(lm, SHAPE), examples(90, 1))
    after = evaluate_lines(scorer, examples(90, 1))
    assert after.at_1.low > before.at_1.high
    assert after.at_1.low > after.chance
    assert seen[-1].metrics["loss"] < seen[0].metrics["loss"] / 2
    assert [s.step for s in seen] == list(range(1, seen[-1].steps + 1))
    assert lm.adapter is None  # the model that was given is as it was
    told = next(s for s in scorer.scores([e.code for e in examples(9, 1) if e.lines]))
    assert told.message(int(told.order()[0])) == SUSPICIONS["wrong_variable"]


def test_micro_batches_do_not_change_what_is_learned(lm: LanguageModel) -> None:
    config = replace(CONFIG, passes=1, learning_rate=1e-3)
    one, many = (train_lines(lm, families(24), replace(config, micro_tokens=n)) for n in (100_000, 64))
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_an_interrupted_training_ends_as_the_straight_one(lm: LanguageModel, tmp_path: Path) -> None:
    config = replace(CONFIG, passes=1, checkpoint_every=2)
    straight = train_lines(lm, families(80), config)

    def stop(step: TrainStep) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_lines(lm, families(80), config, checkpoints=tmp_path, on_step=stop)
    again: list[int] = []
    resumed = train_lines(lm, families(80), config, checkpoints=tmp_path, on_step=lambda s: again.append(s.step))
    assert again[0] == 3
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match="another run"):
        train_lines(lm, families(80, 5), config, checkpoints=tmp_path)


def test_calibration_bounds_false_alarms_and_changes_no_order(lm: LanguageModel) -> None:
    scorer = train_lines(lm, families(100), replace(CONFIG, passes=2))
    held_out = examples(120, 2)
    order = [s.order().tolist() for s in scorer.scores([e.code for e in held_out])]
    calibrate_lines(scorer, held_out, 0.2)
    assert [s.order().tolist() for s in scorer.scores([e.code for e in held_out])] == order
    assert evaluate_lines(scorer, held_out).false_alarms.estimate <= 0.2
    with pytest.raises(InputError, match="both clean"):
        calibrate_lines(scorer, [KnownBug(CODE, (1,))])


def test_what_is_saved_is_what_is_loaded(lm: LanguageModel, tmp_path: Path) -> None:
    scorer = train_lines(lm, families(40), replace(CONFIG, passes=1))
    scorer.temperature, scorer.level, scorer.threshold = 1.7, 0.4, 0.3
    scorer.save(tmp_path)
    again = LineScorer.load(tmp_path, dtype="float32")
    assert (again.temperature, again.level, again.threshold) == (1.7, 0.4, 0.3)
    assert again.fingerprint() == scorer.fingerprint()
    assert again.messages == scorer.messages
    for a, b in zip(scorer.scores([CODE]), again.scores([CODE]), strict=True):
        np.testing.assert_allclose(a.lines, b.lines, atol=1e-6)


def test_what_cannot_be_learned_from_is_one_sentence(lm: LanguageModel, tmp_path: Path) -> None:
    long, outside = Family(rows=(KnownBug(CODE * 50),)), Family(rows=(KnownBug(CODE, (9,)),))
    with pytest.raises(InputError, match="none of 1 functions fits"):
        train_lines(lm, [long], replace(CONFIG, max_code_tokens=64))
    with pytest.raises(InputError, match="lines count from 1"):
        train_lines(lm, [outside], CONFIG)
    with pytest.raises(InputError, match="batch is 0"):
        LineConfig(batch=0)
    with pytest.raises(InputError, match="multiple of 64"):
        LineShape(width=100)
    with pytest.raises(InputError, match="no line scorer"):
        LineScorer.load(tmp_path)
    with pytest.warns(UserWarning, match="1 of 17 functions"):
        train_lines(lm, [*families(16), long], replace(CONFIG, passes=1, max_code_tokens=256))


def test_bugs_that_stand_apart_count_each_by_itself():
    code = "def f(a):\n    b = a\n    c = a\n    d = a\n    e = a\n    g = a\n    return b"
    scorer = WordScorer({"b =": 0.4, "e =": 0.3, "d =": 0.2})
    spread = [KnownBug(code, (2, 3, 5, 7), function="f")]  # lines 2 and 3 are one bug; 7 is not among the likeliest
    found = evaluate_lines(scorer, [*spread, KnownBug("def h():\n    return 1", function="h")])
    assert found.per_bug.estimate == pytest.approx(2 / 3)
    assert found.at_1.estimate == 1
    assert found.per_bug.n == 1  # functions are what intervals count
