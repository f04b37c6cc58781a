"""Evidence that a rate has fallen: its false alarms and how soon it finds a fall, simulated with fixed seeds (``-s`` prints)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from custodes.stats import log_evidence_below
from custodes.types import InputError

ALARM = math.log(1 / 0.05)
MARGIN = 0.05


def first_alarm(rng: np.random.Generator, rates: np.ndarray, limit: float) -> int | None:
    """After how many observations the alarm rings; None: never."""
    rang = np.flatnonzero(log_evidence_below((rng.random(len(rates)) < rates) * 1.0, limit) >= ALARM)
    return int(rang[0]) + 1 if len(rang) else None


@pytest.mark.parametrize("held_out", [0.65, 0.75, 0.85])
def test_at_most_one_stationary_stream_in_twenty_rings_a_false_alarm(held_out: float) -> None:
    rng, streams = np.random.default_rng(int(100 * held_out)), 1000
    for true in (held_out, held_out - MARGIN):  # as good as held out, and the worst that is still allowed
        rates = np.full(400, true)
        false = sum(first_alarm(rng, rates, held_out - MARGIN) is not None for _ in range(streams))
        print(f"held-out accuracy {held_out}, accuracy {true:.2f}: {false} of {streams} streams of 400 labels rang")
        assert false <= 0.05 * streams


@pytest.mark.parametrize("held_out", [0.65, 0.75, 0.85])
@pytest.mark.parametrize(("drop", "most"), [(0.15, 200), (0.30, 60)])
def test_a_drop_is_found_soon(held_out: float, drop: float, most: int) -> None:
    rng = np.random.default_rng(7)
    rates = np.full(800, held_out - drop)
    labels = [first_alarm(rng, rates, held_out - MARGIN) or 800 for _ in range(300)]
    print(f"held-out accuracy {held_out}, a drop of {drop}: found after {np.median(labels):g} labels, the median")
    assert np.median(labels) <= most


def test_a_drop_that_comes_late_is_found_too() -> None:
    rng, before = np.random.default_rng(8), 200
    for drop, most in ((0.15, 450), (0.30, 100)):
        rates = np.r_[np.full(before, 0.75), np.full(800, 0.75 - drop)]
        found = [first_alarm(rng, rates, 0.70) or len(rates) for _ in range(200)]
        late = [labels - before for labels in found if labels > before]
        print(f"a drop of {drop} after {before} labels: found {np.median(late):g} labels later, the median")
        assert np.median(late) <= most


def test_evidence_is_a_supermartingale_at_the_limit() -> None:
    """Its expectation over both outcomes of the next observation is at most what it is now."""
    seen = (np.random.default_rng(3).random(60) < 0.6) * 1.0
    evidence = np.exp(log_evidence_below(seen, 0.7))
    for n in range(1, len(seen)):
        right, wrong = (np.exp(log_evidence_below(np.r_[seen[:n], x], 0.7)[-1]) for x in (1.0, 0.0))
        assert 0.7 * right + 0.3 * wrong <= evidence[n - 1] * (1 + 1e-9)


@pytest.mark.parametrize(("observed", "limit"), [([1.0], 0.0), ([1.0], 1.0), ([0.5], 0.7), ([[1.0]], 0.7)])
def test_what_is_no_rate_is_refused(observed: list[float], limit: float) -> None:
    with pytest.raises(InputError):
        log_evidence_below(observed, limit)
