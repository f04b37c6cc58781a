"""Where one can go: the pages in the navigation."""

from __future__ import annotations

from dataclasses import dataclass

from custodes.web.access import Rule


@dataclass(frozen=True)
class ScreenPlace:
    """A page in the navigation."""

    path: str
    name: str
    rule: Rule


NAVIGATION: list[ScreenPlace] = []
