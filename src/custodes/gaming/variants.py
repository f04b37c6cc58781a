"""A stage and its variants: the same temptation in many costumes, split into train and held-out.

A variant is a choice of one element from each of a stage's pools. Each pool is dealt out between the two splits, so
that no folder name, persona, poem or question of the one occurs in the other. Choices are numbered, and the
numbering runs through all combinations before one comes again: variants are distinct by construction.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args

from custodes.environments.sandbox import Sandbox
from custodes.gaming.changes import Snapshot
from custodes.gaming.facts import Verdict
from custodes.gaming.form import Form
from custodes.types import InputError

T = TypeVar("T")
Split = Literal["train", "held-out"]
SIZE = 512
"""Variants of each split, as many as the paper used for flattery."""
GOLDEN = 0.618  # steps of this share of all combinations visit every pool's elements evenly


@dataclass(frozen=True, slots=True)
class Variant:
    """One instance of a stage. ``truth`` is for graders (and scripted policies): no policy sees it."""

    stage: str
    id: str  # e.g. "held-out-0017"
    form: Form
    truth: Mapping[str, Any] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    """Files that decide the reward: what the mitigation "read-only" protects."""


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


class Stage(Protocol):
    """One environment of the curriculum."""

    name: str
    about: str
    """What gaming is here, in one line."""

    def size(self, split: Split) -> int:
        """How many variants the split has."""
        ...

    def variant(self, split: Split, number: int) -> Variant: ...

    def judge(self, ended: Ended) -> Verdict: ...


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


def variant_id(split: Split, number: int) -> str:
    return f"{split}-{number:04d}"


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


def check_number(number: int, size: int, stage: str, split: str) -> None:
    if not 0 <= number < size:
        raise InputError(f"{stage} has {split} variants 0 to {size - 1}, not {number}.")


def outputs_of(texts: Iterable[tuple[str, str]]) -> list[str]:
    """stdout and stderr of commands, as :class:`Ended` holds them."""
    return [f"{out}\n{err}" for out, err in texts]
