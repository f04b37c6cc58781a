"""GCG: its gradient is right, it breaks a model that yields and not one that cannot, and it sends nothing that is read otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_black_box_attacks import SAY, Scripted, attacked, trial

from custodes.audit.attack import Trial
from custodes.audit.attacks.gcg import Gcg, _Gradient
from custodes.audit.attacks.suffix import RandomSuffix
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack
from custodes.types import InputError


def begun(folder: Path, **options: int) -> _Gradient:
    lm = load(folder, dtype="float32")
    made = Gcg(suffix_tokens=6, **options).begin(trial(TorchEngine(lm)))
    assert isinstance(made, _Gradient)
    return made


def test_the_gradient_is_the_slope_of_the_loss_along_a_token(yielding: Path) -> None:
    search = begun(yielding)
    lm, rng = search.trial.lm, np.random.default_rng(0)
    slope = search.gradient()
    assert slope.shape == (len(search.ids), len(search.tokens))
    prompt, whole = search.trial.prompt_and_target(search._messages(search.text(lm.tokenizer.decode(search.ids))))
    batch, places = pack([whole]), torch.arange(len(prompt) - 1, len(whole) - 1)
    table = lm.decoder.embedding.value

    def loss(place: int, token: int, share: float) -> float:
        x = lm.decoder.embed(batch).clone()
        x[search.before + place] += share * table[token]
        hidden = lm.decoder.run(x, batch, 0, lm.decoder.spec.layers, lm.adapter, wanted=places)
        values, _ = token_logprobs(lm.decoder.final(hidden), lm.decoder.head_weight(), batch.ids[len(prompt) :])
        return -float(values.detach().mean())

    for place, k in zip(rng.integers(len(search.ids), size=8), rng.integers(len(search.tokens), size=8), strict=True):
        token, h = int(search.tokens[k]), 1e-2
        measured = (loss(int(place), token, h) - loss(int(place), token, -h)) / (2 * h)
        assert float(slope[place, k]) == pytest.approx(measured, abs=3e-3, rel=0.05)


def test_it_breaks_a_model_that_yields_and_not_one_that_cannot(yielding: Path, unable: Path) -> None:
    search = Gcg(max_passes=240, suffix_tokens=8, candidates=13, tries=4, gradient_top=32)
    broken, held = attacked(search, yielding), attacked(search, unable)
    assert any(a.verdict.counts for a in broken.attempts)
    assert not any(a.verdict.counts for a in held.attempts)
    assert held.losses[-1][1] < held.losses[0][1]  # a low loss is no success
    for made in (broken, held):
        assert made.passes <= 240


def test_what_it_scores_is_read_as_the_tokens_that_were_planned(yielding: Path) -> None:
    search = begun(yielding, gradient_top=200)
    scored: list[str] = []
    ask = Trial.target_losses

    def losses(self: Trial, texts: list[str]):  # type: ignore[no-untyped-def]
        scored.extend(texts)
        return ask(self, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trial, "target_losses", losses)
        for _ in range(5):
            before = search.ids.copy()
            assert search.step(40)
            assert (search.ids != before).sum() <= 1
    assert search.trial.dropped > 0  # the tiny tokenizer joins many pairs
    assert len(scored) > 20
    for text in scored:
        ids = search._prompt(text)
        inside = ids[search.before : len(ids) - search.after]
        assert len(inside) == len(search.ids)
        assert SAY.text + search.trial.lm.tokenizer.decode(inside) == text


def test_it_counts_three_passes_for_a_gradient_and_stops_without_room(yielding: Path) -> None:
    search = begun(yielding, candidates=4)
    assert not search.step(3)
    assert search.trial.passes == 0
    search.step(40)
    assert 3 < search.trial.passes <= 7


def test_what_it_cannot_attack_it_names(yielding: Path) -> None:
    with pytest.raises(InputError, match="needs a model in this process"):
        Gcg().run(trial(Scripted(lambda asked: "")))
    engine = TorchEngine(load(yielding))
    engine.lm.decoder = object()  # type: ignore[assignment]
    with pytest.raises(InputError, match="use --attack suffix"):
        Gcg().begin(trial(engine))


def test_a_random_search_has_the_same_budget(yielding: Path) -> None:
    assert Gcg(max_passes=50).planned() == RandomSuffix(max_passes=50).planned() == 50
