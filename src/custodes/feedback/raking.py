"""Raking: weights that give annotators the margins of a target population.

Iterative proportional fitting (Deming and Stephan, Annals of Mathematical Statistics 1940): weights are scaled until
every margin matches, attribute by attribute, round after round. Raking makes margins match, not what stands behind
them: a group of two people stays two people, with larger weights.

Letters: K annotators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from custodes.tables import read_rows
from custodes.types import InputError

Margins = Mapping[str, Mapping[str, float]]
"""Attribute -> category -> its share of the population."""

ROUNDS = 1000
TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Raked:
    """Weights of annotators, mean 1."""

    weights: Mapping[str, float]
    design_effect: float
    """K over Kish's effective number of annotators: the factor by which unequal weights widen a variance."""
    effective: float
    """Kish's effective number of annotators, (sum w)^2 / sum w^2 (Survey Sampling, 1965)."""

    def to_dict(self) -> dict[str, Any]:
        return {"weights": dict(self.weights), "effective": self.effective, "design_effect": self.design_effect}

    def __str__(self) -> str:
        values = list(self.weights.values())
        return (
            f"Weights from {min(values):.2f} to {max(values):.2f} match the population: {len(values)} annotators count as "
            f"{self.effective:.1f} equal ones."
        )


def rake(profiles: Mapping[str, Mapping[str, str]], margins: Margins, source: str = "the population") -> Raked:
    """Weights of annotators by their ``profiles`` (annotator -> attribute -> category) so that ``margins`` are met.

    Raises InputError for shares that do not sum to 1, for a category that no annotator has, for an annotator whose category
    is unknown or has no margin, and for margins that cannot all be met at once.
    """
    if not profiles:
        raise InputError(f"{source}: there are no annotators to weight.")
    names, masks = list(profiles), []
    for attribute, shares in margins.items():
        total = sum(shares.values())
        if not shares or abs(total - 1) > 1e-3 or min(shares.values()) < 0:
            raise InputError(f"{source}, {attribute}: shares sum to {total:g}; they must be 0 or more and sum to 1.")
        own = [profiles[name].get(attribute, "") for name in names]
        for name, category in zip(names, own, strict=True):
            if category not in shares:
                of = f"is {category!r}, which has no share" if category else "is not known"
                raise InputError(
                    f"{source}, {attribute}: that of annotator {name!r} {of}; there are shares of {', '.join(shares)}."
                )
        for category, share in shares.items():
            if share > 0 and category not in own:
                raise InputError(
                    f"{source}, {attribute}: no annotator is {category!r}, {share:.0%} of the population; no weights can stand "
                    "in for people who were not asked, so ask some or merge the category with another."
                )
            if share == 0 and category in own:
                raise InputError(f"{source}, {attribute}: {category!r} has share 0 and annotators; leave them out.")
            if share > 0:
                masks.append((np.array([c == category for c in own]), share / total))
    weights = np.full(len(names), 1 / len(names))
    for _ in range(ROUNDS):
        before = weights.copy()
        for mask, share in masks:
            weights[mask] *= share / weights[mask].sum()
        if np.abs(weights - before).max() < TOLERANCE:
            break
    missed = max((abs(float(weights[mask].sum()) - share) for mask, share in masks), default=0.0)
    if missed > 1e-3:
        raise InputError(
            f"{source}: no weights meet all margins at once; the nearest miss one by {missed:.1%}. Merge categories or leave an "
            "attribute out."
        )
    weights *= len(names) / weights.sum()
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return Raked(dict(zip(names, weights.tolist(), strict=True)), len(names) / effective, effective)


def read_margins(path: str | Path) -> dict[str, dict[str, float]]:
    """Margins from YAML: ``country: {DE: 0.4, FR: 0.6}``. Raises InputError naming file and field."""
    try:
        held = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML ({reason}).") from None
    right = "write each attribute with the share of each category, for example country: {DE: 0.4, FR: 0.6}"
    if not isinstance(held, dict) or not held:
        raise InputError(f"{path} holds no margins; {right}.")
    for attribute, shares in held.items():
        numbers = isinstance(shares, dict) and all(
            isinstance(share, int | float) and not isinstance(share, bool) for share in shares.values()
        )
        if not numbers:
            raise InputError(f"{path}, {attribute}: {right}.")
    return {str(a): {_category(c): float(share) for c, share in shares.items()} for a, shares in held.items()}


def read_profiles(path: str | Path) -> dict[str, dict[str, str]]:
    """Annotator -> attribute -> category, from a table with a column "annotator". Raises InputError naming file and row."""
    found: dict[str, dict[str, str]] = {}
    for row in read_rows(path, ("annotator",)):
        name = str(row.values.get("annotator") or "")
        if not name or name in found:
            raise InputError(
                f"{path}, row {row.number:,}: annotator {name!r} {'stands in an earlier row too' if name else 'is empty'}; "
                "give each annotator one row."
            )
        found[name] = {key: _category(value) for key, value in row.values.items() if key != "annotator"}
    return found


def _category(value: Any) -> str:
    return "" if value is None else str(value).strip()
