"""Numbers of things in sentences."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """``1 step``, ``2 steps``, ``1,200 replies``; ``several`` where that is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
