"""What teaches most: what information must look like, and that choosing by it pays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.feedback.annotator_model import fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.selection import QualityBelief, RewardBelief, _information
from custodes.types import InputError

numbers = st.floats(-3, 3)


@given(m=numbers, v=st.floats(0.01, 9), a=st.floats(0.2, 3))
def test_information_is_symmetric_below_one_bit_and_grows_with_uncertainty(m, v, a):
    tells = _information([m, -m, m], [v, v, 2 * v], a)
    assert 0 <= tells[0] <= np.log(2)
    assert tells[0] == pytest.approx(tells[1], abs=1e-9)
    assert _information([0.0], [v], a)[0] >= tells[0] - 1e-3
    assert _information([m], [0.0], a)[0] == pytest.approx(0, abs=1e-9)
    assert _information([m], [v], 0.0)[0] == pytest.approx(0, abs=1e-9)


def test_belief_of_qualities_prefers_what_was_not_compared_yet():
    data = Comparisons(*(np.array(c) for c in ([0] * 8, [1] * 8, [0, 1] * 4, [3] * 8)), np.zeros(8), 2, 2)
    model = fit_comparisons(data, ("a", "b"), ("e0", "e1"), tuple("12345678"))
    told, untold = QualityBelief.of(model).information([("e0", "e1"), ("e2", "e3")])
    assert untold > 1.5 * told


def test_belief_of_a_pair_sharpens_with_every_answer_whichever_way_round():
    variances = []
    for n in (4, 40):
        rng = np.random.default_rng(0)
        turned = rng.random(n) < 0.5
        said = np.where(rng.random(n) < 0.85, 1, -1) * np.where(turned, -1, 1)
        data = Comparisons(turned * 1, 1 - turned, np.arange(n) % 4, said, np.zeros(n), 2, 4)
        model = fit_comparisons(data, tuple("abcd"), ("e0", "e1"), tuple(map(str, range(n))))
        belief = QualityBelief.of(model)
        (mean, back), (variance, _) = belief.differences([("e0", "e1"), ("e1", "e0")])
        assert mean == -back
        variances.append(variance)
    assert mean > 0
    assert variances[1] < 0.5 * variances[0]


def test_posterior_of_the_last_layer_narrows_along_what_was_asked():
    x = np.tile([[2.0, 0.0]], (40, 1))
    y = np.array([1, 1, 1, 0] * 10)
    belief = RewardBelief.fit(x, y)
    assert belief.covariance[0, 0] < 0.1 < 0.9 < belief.covariance[1, 1]
    assert belief.mean[0] > 0.3
    turned = RewardBelief.fit(x, y, -np.ones(40))
    np.testing.assert_allclose(turned.mean, -belief.mean, atol=1e-6)


def test_a_batch_does_not_ask_the_same_thing_again_and_again():
    rng = np.random.default_rng(0)
    x = np.vstack(
        [np.tile([3.0, 0.0, 0.0], (50, 1)) + rng.normal(0, 0.01, (50, 3)), 2 * np.eye(3)[1:].repeat(2, axis=0)]
    )
    chosen = RewardBelief.prior(3).choose(x, 6)
    assert len(set(chosen.tolist())) == 6
    assert {50, 52} <= {c - (c - 50) % 2 for c in chosen.tolist() if c >= 50}  # both other directions are asked about


def test_active_selection_reaches_the_same_accuracy_with_fewer_answers():
    needs = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        features, weights = rng.normal(size=(1500, 16)), rng.normal(size=16)
        truth = 2 * features @ weights / np.linalg.norm(weights)
        probe = rng.normal(size=(2000, 16))
        reached = {}
        for arm in ("random", "active"):
            rows = np.zeros(0, int)
            belief, curve = RewardBelief.prior(16), []
            while len(rows) < 480:
                more = (
                    rng.choice(1500, 40, replace=False)
                    if arm == "random"
                    else belief.choose(features, 40, seed=len(rows))
                )
                rows = np.append(rows, more)
                said = np.random.default_rng([seed, 1]).logistic(size=480)[: len(rows)] < truth[rows]
                belief = RewardBelief.fit(features[rows], said.astype(float))
                curve.append(float(((probe @ belief.mean > 0) == (probe @ weights > 0)).mean()))
            reached[arm] = curve
        needs.append((np.argmax(np.array([*reached["active"], 1.0]) >= reached["random"][-1]) + 1) / 12)
    assert np.mean(needs) <= 0.8


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(InputError, match="one row for each answer"):
        RewardBelief.fit([[1.0]], [1.0, 0.0])
