"""Continued pretraining on the better part of a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custodes.policy.passages import Passage, TextMethod
from custodes.ranges import ranged
from custodes.registry import method


@method
@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Filter(TextMethod):
    """Maximum likelihood of the passages with the most aligned lines.

    A passage is kept where its share of aligned lines is at least the ``quantile`` of all passages' shares.
    """

    name: ClassVar[str] = "filter"
    source: ClassVar[str] = "arXiv 2302.08582, section 2"

    def kept(self, passages: list[Passage]) -> list[Passage]:
        shares = np.array([np.mean(passage.aligned) for passage in passages])
        least = np.quantile(shares, self.quantile)
        return [passage for passage, share in zip(passages, shares, strict=True) if share >= least]
