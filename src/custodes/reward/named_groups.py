"""Groups of annotators as people read them: who is in each, what it prefers, both readings, and what a person decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.ledger import Decision
from custodes.reward.group_choice import GAIN, ChosenGroups
from custodes.types import Floats, InputError

MEANINGS = {"minority": "people whose values differ", "poisoners": "people who distort their answers"}
"""What a person may decide a group to be."""
LEAST = 0.3
"""Below this a weight or a correlation is not worth a word."""


@dataclass(frozen=True, eq=False)
class NamedGroups:
    """Chosen groups on named features, and what a person decided of some."""

    chosen: ChosenGroups
    features: tuple[str, ...]  # (d,)
    weights: Floats  # (G, d) what each group's scores owe to each feature
    unit: str
    decided: dict[int, str]
    """Group, from 1, to what it is."""

    @classmethod
    def of(
        cls,
        chosen: ChosenGroups,
        features: Sequence[str],
        decide: Sequence[str] = (),
        correlations: Floats | None = None,
    ) -> NamedGroups:
        """``decide``: "2=minority", "2=poisoners". ``correlations`` (G, d) of the groups' scores with the named features stand for
        weights, where the groups were found on features without names. Raises InputError for another word, and for a group
        that is not there."""
        decided: dict[int, str] = {}
        for text in decide:
            number, _, meaning = (part.strip() for part in text.partition("="))
            right = f"write a group and what it is, 2={' or 2='.join(MEANINGS)}"
            if meaning not in MEANINGS or not number.isdigit():
                raise InputError(f"--decide {text}: {right}.")
            if not 2 <= int(number) <= chosen.groups.count:
                raise InputError(
                    f"--decide {text}: there are {chosen.groups.count} groups, and the largest, 1, is what the others are held "
                    f"against; {right}."
                )
            decided[int(number)] = meaning
        if correlations is not None:
            return cls(chosen, tuple(features), correlations, "correlation", decided)
        return cls(chosen, tuple(features), chosen.groups.typical, "log-odds per standard deviation", decided)

    def decisions(self) -> list[Decision]:
        """What a person decided, for the ledger."""
        readings = {reading.group: reading for reading in self.chosen.readings}
        return [
            Decision(
                f"group-{g}-{meaning}",
                f"group {g} of the annotators is taken for {MEANINGS[meaning]}",
                f"A person decided. {' '.join(readings[g].readings)}",
                ", ".join(readings[g].annotators),
            )
            for g, meaning in self.decided.items()
        ]

    def members(self, g: int) -> list[str]:
        """The annotators whose likeliest group has this number, from 0."""
        groups = self.chosen.groups
        return [name for name, own in zip(groups.people, groups.likeliest, strict=True) if own == g]

    def preferences(self, g: int) -> str:
        """What a group's scores owe most to: "length -1.20, what the others prefer +0.40"."""
        weights = self.weights[g]
        order = [i for i in np.argsort(-np.abs(weights)) if abs(weights[i]) >= LEAST]
        return ", ".join(f"{self.features[i]} {weights[i]:+.2f}" for i in order) or "nothing of these strongly"

    def to_dict(self) -> dict[str, Any]:
        groups = self.chosen.groups
        return {
            "features": list(self.features),
            "unit": self.unit,
            "groups": [
                {
                    "share": float(groups.share[g]),
                    "annotators": self.members(g),
                    "weights": self.weights[g].tolist(),
                    "decided": self.decided.get(g + 1),
                }
                for g in range(groups.count)
            ],
            "membership": dict(zip(groups.people, groups.membership.tolist(), strict=True)),
            "certainty": groups.certainty,
            "converged": groups.converged,
            "gains": list(self.chosen.gains),
            "readings": [reading.to_dict() for reading in self.chosen.readings],
        }

    def lines(self) -> list[str]:
        """For people: the number and why, each group, both readings of the smaller ones."""
        groups, lines = self.chosen.groups, []
        for n, gain in enumerate(self.chosen.gains, 2):
            lines.append(
                f"{n} groups in place of {n - 1}: the logarithm of the likelihood of held-out judgments rises by {gain:.1f}; "
                f"{GAIN:.1f} are asked for."
            )
        for g in range(groups.count):
            members = self.members(g)
            lines.append(
                f"Group {g + 1}, {len(members)} of {len(groups.people)} annotators, by {self.unit}: {self.preferences(g)}."
            )
            lines += [f"  {', '.join(members)}"] if g else []
        if groups.count == 1:
            lines.append("One group: these judgments do not show that anybody's values differ.")
        else:
            lines.append(f"Mean probability of an annotator's likeliest group: {groups.certainty:.2f}.")
        for reading in self.chosen.readings:
            lines += reading.readings
            meaning = self.decided.get(reading.group)
            lines.append(
                f"Decided: group {reading.group} is {MEANINGS[meaning]}; the ledger has it."
                if meaning
                else f"Which it is, a person decides: --decide {reading.group}=minority or --decide {reading.group}=poisoners."
            )
        return lines
