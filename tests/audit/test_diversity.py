"""Diversity that does not depend on length, order or case."""

import numpy as np
import pytest

from custodes.audit.diversity import (
    _character_ngrams,
    _expectation_adjusted_distinct,
    across,
    distance,
    distinct,
    ngram_vocabulary,
    repetition,
)


@pytest.mark.parametrize("length", [20, 200, 2000])
def test_expectation_adjusted_distinct_is_1_for_random_words_of_any_length(length: int) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 300, length)) for _ in range(20)]
    mean = np.mean([_expectation_adjusted_distinct([t], 1, 300) for t in texts])
    assert mean == pytest.approx(1, abs=0.03)


def test_repeating_oneself_lowers_distinct_and_distance() -> None:
    varied = ["the river was cold", "a lamp burned all night", "seven bells over town"]
    same = ["the river was cold"] * 3
    vocabulary = {n: ngram_vocabulary(varied + same, n) for n in (1, 2)}
    assert distinct([same], vocabulary)[0] < distinct([varied], vocabulary)[0]
    assert distance([same, varied])[0] == pytest.approx(0, abs=1e-9)
    assert distance([same, varied])[1] > 0.5


def test_texts_with_nothing_in_common_are_at_distance_1_and_one_text_has_none() -> None:
    found = distance([["aaaa", "bbbb"], ["alone"]])
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])


def test_distance_is_the_mean_over_pairs_of_any_embedding() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5, 7))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - unit[i] @ unit[j] for i in range(5) for j in range(i)]
    assert distance([list("abcde")], embed=lambda texts: vectors)[0] == pytest.approx(np.mean(pairs))


def test_case_and_order_do_not_matter() -> None:
    a, b = ["One two three", "four five"], ["FOUR FIVE", "one TWO three"]
    assert distance([a])[0] == pytest.approx(distance([b])[0])
    assert distinct([a], {1: 9})[0] == pytest.approx(distinct([b], {1: 9})[0])


def test_repetition_counts_what_occurred_before() -> None:
    assert repetition("a b c d e f g") == 0
    assert repetition("go on " * 10) > 0.8
    assert repetition("") == 0


def test_blocks_across_prompts_are_disjoint_and_whole() -> None:
    blocks = across([[f"first {i}", "second"] for i in range(35)], block=16)
    assert [len(b) for b in blocks] == [16, 16]
    assert len({t for b in blocks for t in b}) == 32


def test_empty_texts_are_allowed() -> None:
    assert _character_ngrams(["", ""]).shape[0] == 2
    assert np.isnan(_expectation_adjusted_distinct([""], 1, 5))
    assert np.isfinite(distance([["", "word"]])[0])
