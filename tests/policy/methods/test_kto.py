"""KTO: what it wants of single replies, and where its reference point comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import adapted

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.policy.learner import Learner
from custodes.policy.methods import Kto, Sft
from custodes.policy.methods.kto import HIGHEST_RATIO
from custodes.policy.tuning import tune
from custodes.policy.turns import demonstration_of
from custodes.types import Example, InputError, Message, Task

GOOD, BAD = "The quick brown fox.", "A lazy dog."


def replies(count: int = 6, good: Sequence[int] = (0, 2, 4), prompts: int = 0) -> list[Example]:
    """Replies to different prompts, or to ``prompts`` of them by turns; those of ``good`` are desirable."""
    asked = [(Message("user", f"Say {i % prompts if prompts else i}."),) for i in range(count)]
    said = [(Message("assistant", f"{GOOD if i in good else BAD} {i}"),) for i in range(count)]
    return [Example(asked[i], said[i], i in good) for i in range(count)]


def test_a_gain_at_the_reference_point_is_worth_half_and_each_kind_wants_its_own_way() -> None:
    gain, z0 = torch.linspace(-30, 30, 13), 2.0
    kto, one, none = Kto(beta=0.3), torch.ones(13), torch.zeros(13)
    up, down = kto.losses(gain, z0, one, none), kto.losses(gain, z0, none, one)
    assert (up.diff() < 0).all()
    assert (down.diff() > 0).all()
    torch.testing.assert_close(up + down, one)  # both kinds see one value, from its two sides
    at = torch.tensor([z0])
    assert float(kto.losses(at, z0, one[:1], none[:1])) == pytest.approx(0.5)
    torch.testing.assert_close(kto.losses(gain, z0, 2 * one, none), 2 * up)


@pytest.mark.parametrize("paper", ["first", "later"])
@pytest.mark.parametrize(("good", "bad"), [(10, 10), (13, 10), (1, 50), (50, 1), (10, 14)])
def test_class_weights_bring_the_ratio_within_the_bounds_of_the_paper(paper: str, good: int, bad: int) -> None:
    one, other = Kto(paper=paper).weights(good, bad)  # type: ignore[arg-type]
    ratio = one * good / (other * bad)
    assert 1 - 1e-9 <= ratio <= HIGHEST_RATIO[paper] + 1e-9
    assert min(one, other) == pytest.approx(1)
    if 1 <= good / bad <= HIGHEST_RATIO[paper]:
        assert (one, other) == (1, 1)


def test_weights_that_are_given_stand_and_the_other_one_follows() -> None:
    assert Kto(desirable_weight=3, undesirable_weight=1).weights(50, 50) == (3, 1)
    one, other = Kto(desirable_weight=4.0).weights(50, 50)
    assert one == 4
    assert 4 * 50 / (other * 50) == pytest.approx(1.5)


def test_label_smoothing_and_class_weights_reach_the_policy(tiny_model: Path) -> None:
    def learned(**options: float) -> torch.Tensor:
        lm = adapted(tiny_model)
        tune(lm, replies(), Kto(batch=6, epochs=2, learning_rate=1e-2, **options), progress=False)  # type: ignore[arg-type]
        return torch.cat([p.detach().flatten() for p in lm.trainable()])

    plain = learned()
    assert torch.equal(plain, learned())
    for changed in (
        {"label_smoothing": 0.3},
        {"desirable_weight": 5.0, "undesirable_weight": 1.0},
        {"desirable_weight": 1.0, "undesirable_weight": 5.0},
    ):
        assert not torch.allclose(plain, learned(**changed), atol=1e-5)


@pytest.mark.parametrize(("count", "prompts"), [(5, 0), (6, 3), (7, 2)])
def test_the_reference_point_is_of_replies_to_other_prompts(tiny_model: Path, count: int, prompts: int) -> None:
    """Of an odd number as well, and where replies to one prompt stand side by side."""
    lm, examples = adapted(tiny_model), sorted(replies(count, prompts=prompts), key=lambda e: e.prompt[0].content)
    own = Kto().objective(Learner(lm, learning_rate=0.0), examples)
    for i, one in enumerate(examples):
        order = list(range(count))
        j = own._partner(i, order[i + 1 :], order[:i])
        assert j is not None
        assert examples[j].prompt != one.prompt
        mixed = own._mismatched(i, j)
        task = Task("mixed", one.prompt)
        expected = demonstration_of(lm, task, examples[j].completion)
        np.testing.assert_array_equal(mixed.token_ids, expected.token_ids)
        np.testing.assert_array_equal(mixed.action_mask, expected.action_mask)


def mismatched_gain(lm: LanguageModel, base: LanguageModel, examples: Sequence[Example]) -> float:
    """What each prompt with the next one's reply gained, by the engine's log-probabilities: nats, the mean."""
    shifted = [
        demonstration_of(lm, Task(str(i), one.prompt), other.completion)
        for i, (one, other) in enumerate(zip(examples, [*examples[1:], examples[0]], strict=True))
    ]
    now, before = (np.array([row.sum() for row in TorchEngine(own).logprobs(shifted)]) for own in (lm, base))
    return float((now - before).mean())


def likelier(learner: Learner, examples: Sequence[Example], sign: int = 1) -> None:
    """Four updates that make every reply likelier, or less likely."""
    likelihood = Sft().objective(learner, [(Task("shown", e.prompt), e.completion) for e in examples])
    for _ in range(4):
        learner.update(likelihood.packs(range(len(examples))), lambda p, seen: sign * likelihood.loss(p, seen), 1.0)


def test_the_reference_point_is_the_mean_gain_and_never_below_zero(tiny_model: Path) -> None:
    examples, base = replies(5, good=(0, 1)), adapted(tiny_model)
    for above in (True, False):
        lm = adapted(tiny_model)
        learner = Learner(lm, learning_rate=2e-2)
        own = Kto().objective(learner, examples)  # its reference is the policy before it learns
        likelier(learner, examples, 1 if above else -1)
        own.packs(range(5))
        gain = mismatched_gain(lm, base, examples)
        assert (gain > 0.1) if above else (gain < -0.1)
        assert own.z0 == pytest.approx(max(0.0, gain), abs=1e-3)


def test_no_gradient_flows_through_the_reference_point(tiny_model: Path) -> None:
    """The slope along a direction is that of the loss with z0 held, not that with z0 moving."""
    lm, examples = adapted(tiny_model), replies(6)
    learner = Learner(lm, learning_rate=1e-2)
    own = Kto(beta=0.5, desirable_weight=3, undesirable_weight=1).objective(learner, examples)
    likelier(learner, examples)
    likelihood = Sft().objective(learner, [(Task("shown", e.prompt), e.completion) for e in examples])
    weights = list(lm.trainable())

    def slopes(objective: object, packs: list) -> list[torch.Tensor]:
        value = sum(objective.loss(pack, learner.forward(pack, 1.0)) for pack in packs)  # type: ignore[attr-defined]
        return list(torch.autograd.grad(value, weights))

    upwards = slopes(likelihood, likelihood.packs(range(6)))  # along it every reply gains, the mismatched ones too
    direction = [g / torch.stack([x.norm() for x in upwards]).norm() for g in upwards]
    grads = slopes(own, own.packs(range(6)))
    assert own.z0 > 0.1
    slope = float(sum((g * d).sum() for g, d in zip(grads, direction, strict=True)))

    def loss_at(step: float, held: float | None) -> float:
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w += step * d
            lm.refresh()
            moved = own.packs(range(6))
            own.z0 = own.z0 if held is None else held
            value = float(sum(own.loss(pack, learner.forward(pack, 1.0)) for pack in moved))
            for w, d in zip(weights, direction, strict=True):
                w -= step * d
            lm.refresh()
        return value

    step, z0 = 2e-3, own.z0
    held = (loss_at(step, z0) - loss_at(-step, z0)) / (2 * step)
    moving = (loss_at(step, None) - loss_at(-step, None)) / (2 * step)
    assert slope == pytest.approx(held, rel=0.05)
    assert abs(moving - held) > 0.2 * abs(held)


def test_desirable_replies_become_likelier_and_undesirable_ones_less_so(policy: LanguageModel) -> None:
    metrics = tune(policy, replies(), Kto(epochs=12, batch=6, learning_rate=5e-3), progress=False)
    assert metrics[0]["desirable"] == pytest.approx(0, abs=1e-4)
    assert metrics[0]["loss"] == pytest.approx(0.5, abs=1e-4)
    assert metrics[-1]["desirable"] > metrics[-1]["undesirable"] + 1
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_micro_batches_leave_the_result_as_it_is(tiny_model: Path) -> None:
    outcomes = [
        tune(adapted(tiny_model), replies(7, prompts=4), Kto(epochs=2, batch=7, learning_rate=1e-2, micro_tokens=n), progress=False)
        for n in (30, 10_000)
    ]  # fmt: skip
    for few, many in zip(*outcomes, strict=True):
        assert few == pytest.approx(many, rel=2e-2, abs=1e-3)


def test_what_kto_cannot_learn_from_is_one_sentence(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="option batch is 1; it must be 2 or more"):
        Kto(batch=1)
    lm = adapted(tiny_model)
    with pytest.raises(InputError, match="all 4 replies are desirable; kto learns from both kinds"):
        tune(lm, replies(4, good=range(4)), Kto(), progress=False)
    with pytest.raises(InputError, match="all 4 replies are undesirable"):
        tune(lm, replies(4, good=()), Kto(), progress=False)
    with pytest.raises(InputError, match="all replies are to one prompt"):
        tune(lm, replies(4, prompts=1), Kto(), progress=False)
    with pytest.raises(InputError, match=r"option desirable_weight is .*; it must be above 0 and at most"):
        Kto(desirable_weight=1e308)  # its ratio would be infinite
