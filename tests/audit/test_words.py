"""Numbers as people read them."""

import math

import pytest

from custodes.audit.words import duration, number, percent, signed


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
