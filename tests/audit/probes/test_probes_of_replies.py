"""Probes that read replies: what they must show is shown, and nothing where nothing differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from custodes.audit.probe import ProbeFigure
from custodes.audit.probes.diversity import DISTANCE, MEETING, Diversity
from custodes.audit.probes.entropy import REPLY, Entropy
from custodes.audit.probes.gibberish import REPEATED, STRANGE, Gibberish

WORDS = [
    "river",
    "stone",
    "cloud",
    "paper",
    "window",
    "garden",
    "silver",
    "quiet",
    "engine",
    "market",
    "copper",
    "forest",
    "ladder",
    "violet",
    "harbour",
    "candle",
]
TASKS, EACH = 48, 6


def replies(seed: int, words: int, **more: list[Any]) -> dict[str, list[Any]]:
    """Five words each, drawn from the first so many of a task's own order."""
    rng = np.random.default_rng(seed)
    texts = []
    for task in range(TASKS):
        own = np.random.default_rng(task).permutation(WORDS)[:words]
        texts += [" ".join(rng.choice(own, 5)) for _ in range(EACH)]
    tasks = [f"t{task}" for task in range(TASKS) for _ in range(EACH)]
    return {"task": tasks, "text": texts, "meets": [None] * len(texts), "tokenizer": ["x"] * len(texts), **more}


def figures(found: list[ProbeFigure]) -> dict[str, ProbeFigure]:
    return {figure.name: figure for figure in found}


def test_fewer_words_are_less_diverse_and_as_many_are_not() -> None:
    found = figures(Diversity().figures({"base": replies(0, 16), "same": replies(1, 16), "poor": replies(2, 4)}, []))
    for name in (DISTANCE, "Distinct n-grams within a prompt"):
        assert found[name].differences["poor"].high < 0
        assert found[name].differences["same"].low <= 0 <= found[name].differences["same"].high
    assert set(found[DISTANCE].differences) == {"same", "poor"}
    assert not any(MEETING in name for name in found)


def test_diversity_of_what_counts_may_rise_where_that_of_all_falls() -> None:
    """Half of the base's replies are the one good answer, the rest a scatter; of the other model's all are good, and differ."""
    base, tuned = replies(3, 16), replies(4, 6)
    good = np.arange(TASKS * EACH) % 2 == 0
    base["text"] = ["the good answer" if g else text for g, text in zip(good, base["text"], strict=True)]
    base["meets"], tuned["meets"] = good.astype(float).tolist(), [1.0] * len(good)
    found = figures(Diversity().figures({"base": base, "tuned": tuned}, []))
    assert found[DISTANCE + MEETING].differences["tuned"].low > 0
    assert found[DISTANCE + MEETING].models["base"].estimate == pytest.approx(0)
    assert found["Answers that meet the check"].differences["tuned"].low > 0
    assert found[DISTANCE].differences["tuned"].estimate < found[DISTANCE + MEETING].differences["tuned"].estimate


def test_replies_that_failed_count_nowhere() -> None:
    whole = replies(5, 16)
    holes = {**whole, "text": [None if i % EACH == 0 else text for i, text in enumerate(whole["text"])]}
    found = figures(Diversity().figures({"base": whole, "holes": holes}, []))
    assert found[DISTANCE].models["holes"].n == TASKS


def drawn(seed: int, p: np.ndarray, tokenizer: str = "x") -> dict[str, list[Any]]:
    """Replies of one to three tokens from one distribution, with their surprise."""
    rng, nats, first, tokens = np.random.default_rng(seed), [], [], []
    for _ in range(TASKS * EACH):
        surprise = -np.log(p[rng.choice(len(p), size=rng.integers(1, 4), p=p)])
        nats.append(float(surprise.sum()))
        first.append(float(surprise[0]))
        tokens.append(len(surprise))
    more = {"nats": nats, "first_nats": first, "tokens": tokens, "tokenizer": [tokenizer] * len(nats)}
    return replies(0, 4) | more


def test_entropy_is_that_of_the_distribution_and_covers_it() -> None:
    sharp, flat = np.array([0.9, 0.05, 0.05]), np.full(4, 0.25)
    truth = {"sharp": float(-(sharp * np.log(sharp)).sum()), "flat": float(np.log(4))}
    covered = 0
    for seed in range(40):
        found = figures(Entropy().figures({"flat": drawn(seed, flat), "sharp": drawn(100 + seed, sharp)}, []))
        own = found["Entropy of the first token"].models["sharp"]
        covered += own.low <= truth["sharp"] <= own.high
        assert found["Entropy of the first token"].models["flat"].estimate == pytest.approx(truth["flat"])
        assert found[REPLY].differences["sharp"].high < 0
    print(f"entropy of the first token: covered in {covered} of 40")
    assert covered >= 34


def test_tokens_of_another_tokenizer_are_not_compared_and_silence_is_no_entropy() -> None:
    p = np.full(4, 0.25)
    found = figures(Entropy().figures({"base": drawn(0, p), "other": drawn(1, p, "y"), "mute": replies(0, 4)}, []))
    assert set(found["Entropy of the first token"].differences) == set()
    assert set(found[REPLY].differences) == {"other"}
    assert set(found[REPLY].models) == {"base", "other"}
    assert Entropy().figures({"mute": replies(0, 4)}, []) == []


def test_gibberish_is_strange_to_the_first_model_and_loops_repeat() -> None:
    base, p = drawn(0, np.full(4, 0.25)), np.full(4, 0.25)
    n = TASKS * EACH
    rng = np.random.default_rng(1)
    base |= {"cut": [0.0] * n, "nats": (np.array(base["tokens"]) * rng.normal(1.0, 0.2, n)).tolist()}
    like = drawn(2, p) | {"cut": [0.0] * n}
    like["base_nats"] = (np.array(like["tokens"]) * rng.normal(1.0, 0.2, n)).tolist()
    mad = drawn(3, p) | {"cut": [1.0] * n, "text": ["round and round it goes and " * 4] * n}
    mad["base_nats"] = (np.array(mad["tokens"]) * rng.normal(3.0, 0.2, n)).tolist()
    found = figures(Gibberish().figures({"base": base, "like": like, "mad": mad}, []))
    assert found[STRANGE].models["base"].estimate <= 0.01
    assert found[STRANGE].models["like"].high < 0.1
    assert found[STRANGE].models["mad"].low > 0.9
    assert found[REPEATED].differences["mad"].low > 0.3
    assert found[REPEATED].models["like"].estimate < 0.01
    assert found["Replies that the limit cut"].differences["mad"].low > 0.7
    mute = figures(Gibberish().figures({"server": replies(0, 4, cut=[0.0] * n)}, []))
    assert STRANGE not in mute
