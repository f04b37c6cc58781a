"""Numbers as people read them, and figures as plain JSON."""

from __future__ import annotations

import math

NOT_RECORDED = "not recorded"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | int | None, digits: int = 3) -> str:
    """Three significant digits or all whole ones, a true minus sign, thousands apart: 0.0123, −4.57, 12,345."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_RECORDED if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    rounded = round(value, places)
    if not 1e-4 <= abs(rounded) < 1e7:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        return f"{mantissa}×10".replace("-", "−") + str(int(exponent)).translate(SUPERSCRIPT)
    places = digits - 1 - math.floor(math.log10(abs(rounded)))  # rounding may have reached the next power of ten
    return f"{rounded:,.{max(places, 0)}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """:func:`number` with a plus sign on gains."""
    return ("+" if value is not None and value > 0 else "") + number(value, digits)


def percent(value: float | None) -> str:
    """A share as a percentage: 71.4 %. The nearer it is to none or all, the more digits; none and all have no decimals."""
    if value is None or not math.isfinite(value):
        return NOT_RECORDED
    away = min(abs(value), abs(1 - value))
    digits = 0 if away == 0 else 1 if away >= 0.01 else 2 if away >= 0.001 else 3
    return f"{100 * value:.{digits}f}\u00a0%".replace("-", "−")


def points(value: float | None) -> str:
    """A difference of shares in percentage points, signed: +2.5."""
    return NOT_RECORDED if value is None else f"{100 * value:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    """Of a test: p = 0.031, p < 0.001."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def duration(seconds: float | None) -> str:
    """Seconds as 42 s, 12 min 30 s or 2 h 5 min."""
    if seconds is None:
        return NOT_RECORDED
    whole = round(seconds)
    if whole < 60:
        return f"{number(float(seconds))} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain_name(name: str) -> str:
    """An identifier as words: "length_biased" is "length biased"."""
    return name.replace("_", " ").replace("-", " ")


NUMBER_FORMS = {"number": number, "signed": signed, "percent": percent, "points": points}
"""How an interval's three numbers can be written."""
