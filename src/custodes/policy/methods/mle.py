"""Continued pretraining on a whole corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from custodes.policy.passages import TextMethod
from custodes.ranges import ranged
from custodes.registry import method


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Mle(TextMethod):
    """Maximum likelihood of all lines, good or bad: what the other ways to learn from scored text are held against."""

    name: ClassVar[str] = "mle"
    source: ClassVar[str] = "arXiv 2302.08582, eq. 1"
