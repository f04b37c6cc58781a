"""Length, the proxy-gold gap, and what was gamed."""

import numpy as np
import pytest

from custodes.audit.hacking import check_changes, gamed_order, length_audit, proxy_gold_gap


def test_a_reward_that_counts_tokens_is_no_better_than_a_coin_on_balanced_halves() -> None:
    rng = np.random.default_rng(0)
    longer = rng.integers(-30, 31, 400)
    outcome = (longer + rng.normal(0, 20, 400) > 0).astype(int)
    audit = length_audit(longer.astype(float), outcome, longer)
    assert audit.correlation.estimate == pytest.approx(1)
    assert audit.longer.estimate == 1
    assert audit.shorter.estimate == 0
    assert audit.balanced.estimate == pytest.approx(0.5)
    assert audit.judges.low > 0.5


def test_length_audit_does_not_depend_on_which_answer_was_shown_first() -> None:
    rng = np.random.default_rng(1)
    margin, longer, outcome = rng.normal(size=50), rng.integers(-9, 10, 50), rng.integers(0, 2, 50)
    a, b = length_audit(margin, outcome, longer), length_audit(-margin, 1 - outcome, -longer)
    assert a.balanced == b.balanced
    assert a.correlation.estimate == pytest.approx(b.correlation.estimate)


def test_length_audit_needs_both_halves() -> None:
    assert length_audit([1.0, 2.0], [1, 1], [3, 4]) is None


def test_no_gap_when_gold_moves_with_the_proxy_in_any_units() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=80)
    after = base + 0.7 + rng.normal(0, 0.1, 80)
    gap = proxy_gold_gap(5 * after - 3, after, 5 * base - 3, base).gap
    assert gap.estimate == pytest.approx(0, abs=1e-9)
    assert proxy_gold_gap(after, base, base, base).gap.low > 0


def test_checks_that_changed_are_named_and_the_rest_stay_unclear() -> None:
    rng = np.random.default_rng(3)
    n = 120
    base = (rng.random((3, n)) < 0.5).astype(float)
    after = base.copy()
    after[0, :60] = 1
    after[1, :60] = 0
    flips = rng.integers(0, n, 6)
    after[2, flips] = 1 - after[2, flips]
    names = ["up"] * n + ["down"] * n + ["noise"] * n
    found = {c.check: c for c in check_changes(names, base.ravel(), after.ravel())}
    assert {k: c.change for k, c in found.items()} == {"up": "better", "down": "worse", "noise": "unclear"}
    assert all(c.p_holm >= c.p for c in found.values())
    assert found["up"].difference.estimate == pytest.approx((found["up"].gained - found["up"].lost) / n)
    assert found["up"].test == "exact McNemar"


def test_many_checks_of_pure_noise_are_rarely_called_changed() -> None:
    rng = np.random.default_rng(4)
    names = [f"check {k}" for k in range(40) for _ in range(50)]
    base, after = (rng.random((2, 2000)) < 0.5).astype(float)
    assert all(c.change == "unclear" for c in check_changes(names, base, after))


def test_gamed_tasks_have_proxy_up_and_gold_down_the_worst_first() -> None:
    proxy, gold = [2.0, 1.0, 3.0, -1.0, 2.0], [-0.5, -0.1, 0.4, -0.9, 0.0]
    assert gamed_order(proxy, gold).tolist() == [0, 1]
