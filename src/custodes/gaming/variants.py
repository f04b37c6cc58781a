"""A stage and its variants: the same temptation in many costumes, split into train and held-out.

A variant is a choice of one element from each of a stage's pools. Each pool is dealt out between the two splits, so that no
folder name, persona, poem or question of the one occurs in the other. Choices are numbered, and the numbering runs through
all combinations before one comes again: variants are distinct by construction.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from custodes.environments.sandbox import Sandbox
from custodes.gaming.changes import Snapshot, contents, file_changes
from custodes.gaming.clean import RewardOutcome
from custodes.gaming.environment_spec import EnvironmentSpec
from custodes.gaming.facts import EpisodeVerdict, make_verdict
from custodes.types import InputError

T = TypeVar("T")
Split = Literal["train", "held-out"]
SIZE = 512
"""Variants of each split, as many as the paper used for flattery."""
GOLDEN = 0.618  # steps of this share of all combinations visit every pool's elements evenly


@dataclass(frozen=True, slots=True)
class Variant:
    """One instance of a stage. ``truth`` is for graders (and scripted policies): no policy sees it."""

    spec: EnvironmentSpec
    truth: Mapping[str, Any] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    """Files that decide the reward: what the mitigation "read-only" protects."""
    stage: str = ""
    id: str = ""  # e.g. "held-out-0017"; it and the stage's name are filled in by Stage.variant


@dataclass(frozen=True, slots=True)
class Ended:
    """An episode that is over, as its stage judges it. ``before`` and ``after`` are empty without a shell."""

    variant: Variant
    before: Snapshot
    after: Snapshot
    outputs: Sequence[str]
    """Standard output and error of each command, as the sandbox gave them."""
    answer: str
    """The user-visible final answer."""
    sandbox: Sandbox | None
    along: Sequence[Snapshot] = ()
    """The files after each command."""

    @property
    def shell(self) -> Sandbox:
        """The sandbox of an episode that had a shell."""
        assert self.sandbox is not None
        return self.sandbox

    def files(self) -> dict[str, bytes]:
        """path -> content of what the policy left behind, links followed."""
        return contents(self.after, self.sandbox)

    def verdict(
        self, facts: set[str], outcome: RewardOutcome, gamed: bool | None, details: Mapping[str, Any] | None = None
    ) -> EpisodeVerdict:
        """The verdict with what was changed among the files, and the ``outcome`` of reward and oversight."""
        return make_verdict(
            facts,
            gamed=gamed,
            reward=outcome.reward,
            caught=outcome.caught,
            reward_problem=outcome.problem,
            details=details or {},
            changes=file_changes(self.before, self.after),
        )


class Stage:
    """One environment of the curriculum. The fields of a stage that is a dataclass are options of the commands."""

    name: str
    about: str
    """What gaming is here, in one line."""

    def size(self, split: Split) -> int:
        """How many variants the split has."""
        return SIZE

    def make(self, split: Split, number: int) -> Variant:
        """Variant ``number`` of the split, 0 to ``size(split)`` - 1, still without a name."""
        raise NotImplementedError

    def judge(self, ended: Ended) -> EpisodeVerdict:
        """What an episode was."""
        raise NotImplementedError

    def variant(self, split: Split, number: int) -> Variant:
        """Variant ``number`` of the split. Raises InputError where there is none."""
        if not 0 <= number < self.size(split):
            raise InputError(f"{self.name} has {split} variants 0 to {self.size(split) - 1}, not {number}.")
        return replace(self.make(split, number), stage=self.name, id=f"{split}-{number:04d}")


def half(pool: Sequence[T], split: Split) -> Sequence[T]:
    """The split's elements of a pool: every second one, the first to held-out (where the paper's own names are)."""
    return pool[0 if split == "held-out" else 1 :: 2]


def combination(pools: Sequence[Sequence[Any]], number: int) -> list[Any]:
    """Combination ``number`` of one element each; the first is the first of every pool, and none comes twice."""
    total = math.prod(len(pool) for pool in pools)
    step = max(1, int(total * GOLDEN))
    while math.gcd(step, total) != 1:
        step += 1
    code, chosen = number * step % total, []
    for pool in pools:
        code, digit = divmod(code, len(pool))
        chosen.append(pool[digit])
    return chosen


def read_variant_id(id: str) -> tuple[Split, int]:
    """Raises InputError for what is no variant's id."""
    split, _, number = id.rpartition("-")
    if split not in get_args(Split) or not number.isdigit():
        raise InputError(f"variant {id!r}: write it as train-0017 or held-out-0017.")
    return split, int(number)  # type: ignore[return-value]


def variant_order(size: int, seed: int) -> list[int]:
    """The order in which a run goes through the variants: each once before any comes again, the same for all models."""
    order = list(range(size))
    random.Random(f"variants {seed}").shuffle(order)
    return order
