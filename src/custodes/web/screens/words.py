"""How numbers are said on a screen: with their interval and their count, always."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Found = Mapping[str, Any] | None
"""An interval as :meth:`custodes.stats.Interval.to_dict` gives it."""


def share(found: Found) -> str:
    """A rate in percent; of none seen, what it is at most."""
    if found is not None and found["n"] and found["estimate"] == 0 and found["high"] is not None:
        return f"0 %, at most {100 * found['high']:.0f} % (n = {found['n']:,})"
    return _said(found, lambda value: f"{100 * value:.0f}", " %")


def number(found: Found, digits: int = 2, unit: str = "") -> str:
    """Any number."""
    return _said(found, lambda value: f"{value:,.{digits}f}", f" {unit}" if unit else "")


def _said(found: Found, of: Callable[[float], str], unit: str) -> str:
    if found is None or found["estimate"] is None or not found["n"]:
        return "no data yet"
    if found["low"] is found["high"] is None:
        return f"{of(found['estimate'])}{unit} (no interval, n = {found['n']:,})"
    low, high = ("?" if found[end] is None else of(found[end]) for end in ("low", "high"))
    return f"{of(found['estimate'])}{unit} [{low}, {high}] (n = {found['n']:,})"
