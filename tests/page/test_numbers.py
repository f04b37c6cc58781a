"""Numbers as people read them."""

import math

import pytest

from custodes.page import duration, number, percent, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.012345, "0.0123"), (-4.567, "−4.57"), (12345.6, "12,346"), (12345, "12,345"), (0.9996, "1.00"),
     (99.96, "100"), (1.5e-7, "1.50×10⁻⁷"), (None, "not recorded"), (math.inf, "∞"), (math.nan, "not recorded")],
)  # fmt: skip
def test_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_signs_shares_and_durations() -> None:
    assert [signed(0.5), signed(-0.5), signed(0.0)] == ["+0.500", "−0.500", "0"]
    assert [percent(0.714), percent(0.0), percent(1.0)] == ["71.4\u00a0%", "0\u00a0%", "100\u00a0%"]
    assert [duration(42.0), duration(750), duration(7500)] == ["42.0 s", "12 min 30 s", "2 h 5 min"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0\u00a0%"),
        (1.0, "100\u00a0%"),
        (0.123, "12.3\u00a0%"),
        (0.00412, "0.41\u00a0%"),
        (0.00014, "0.014\u00a0%"),
        (0.99996, "99.996\u00a0%"),
        (None, "not recorded"),
    ],
)
def test_small_rates_are_told_apart(value: float | None, shown: str):
    assert percent(value) == shown
