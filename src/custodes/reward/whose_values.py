"""Options of every command that asks whose values judgments hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from custodes.ranges import Range, ranged
from custodes.reward.group_choice import MOST_GROUPS
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
@ranged
class WhoseValues:
    """Groups of annotators with values of their own, and whom they speak for."""

    groups: Annotated[int | None, Range(0, MOST_GROUPS)] = None
    """Look for so many groups of annotators with values of their own; 0 takes as many as held-out judgments bear out. A
    reward gets an output for each, and learns from comparisons alone."""
    decide: tuple[str, ...] = ()
    """What a person decided a group is, 2=minority or 2=poisoners; a reward learns nothing from poisoners. The decision is
    written into the ledger."""
    profiles: Path | None = None
    """Table of who the annotators are: a column "annotator", and one for each attribute, between whose values gaps are told."""
    population: Path | None = None
    """YAML file with the margins of a target population; annotators, and their comparisons, weigh as they do where these are met."""

    def __post_init__(self) -> None:
        if self.decide and self.groups is None:
            raise InputError("--decide says what a group is; look for groups with --groups.")
        if self.population is not None and self.profiles is None:
            raise InputError("--population needs to know who the annotators are; give a table with --profiles.")
