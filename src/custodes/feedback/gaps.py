"""Do groups of people, by what is known of them, judge like the others? Gaps with intervals.

A judgment agrees when it prefers the answer that everybody else's answers favour. A gap is a group's share of agreeing
judgments minus that of all other people. It says who disagrees, and not who is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.stats import Interval, rate, weighted_sum
from custodes.types import InputError


@dataclass(frozen=True, slots=True)
class GroupGap:
    """One group of people, and how often they agree with everybody else."""

    attribute: str
    category: str
    annotators: int
    agreement: Interval
    """Share of their judgments, ties left out, that agree; its interval and its n count annotators."""
    gap: Interval
    """That share minus the share of all other annotators."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "attribute": self.attribute,
            "category": self.category,
            "annotators": self.annotators,
            "agreement": self.agreement.to_dict(),
            "gap": self.gap.to_dict(),
        }


def gaps_of_groups(model: AnnotatorModel, profiles: Mapping[str, Mapping[str, str]]) -> list[GroupGap]:
    """Gaps of every attribute's categories, the largest first; intervals are 95 % each, over annotators.

    Annotators without a category of an attribute are left out of that attribute. Raises InputError where no annotator who
    judged has a profile.
    """
    data, (others, _) = model.comparisons, model.others
    decided = (data.strength != 0) & (others != 0)
    agreed = ((data.strength > 0) == (others > 0))[decided].astype(float)
    person = data.annotator[decided]
    held = [profiles.get(name, {}) for name in model.annotators]
    attributes = sorted({attribute for profile in held for attribute in profile})
    if not attributes:
        raise InputError(
            f"none of the {len(held)} annotators who judged has a profile; is {model.annotators[0]!r} written as in the judgments?"
        )
    found = []
    for attribute in attributes:
        category = np.array([profile.get(attribute, "") for profile in held])
        of = category[person]
        for name in sorted(set(category) - {""}):
            inside, outside = of == name, (of != name) & (of != "")
            ours, theirs = (rate(agreed[some], person[some].tolist()) for some in (inside, outside))
            if ours.n and theirs.n:
                gap = weighted_sum((1, ours), (-1, theirs)).within(-1.0, 1.0)
                found.append(GroupGap(attribute, str(name), int((category == name).sum()), ours, gap))
    return sorted(found, key=lambda g: -abs(g.gap.estimate))
