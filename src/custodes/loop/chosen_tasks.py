"""Which prompts a policy is trained on, and which are held out to measure it."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console

from custodes.environments import task_id
from custodes.environments.duplicates import SIMILAR, NearDuplicate, near_duplicates
from custodes.lm.loading import LanguageModel
from custodes.reward.storage import TRAINING
from custodes.types import InputError, Task
from custodes.wording import counted

P = TypeVar("P", bound=Hashable)

LEAST = 10
"""Prompts below which there is nothing to learn from and to measure on."""


def fitting_tasks(
    lm: LanguageModel, tasks: Sequence[Task], room: int, least: int, source: str, console: Console
) -> list[Task]:
    """The tasks whose prompt has at most ``room`` tokens, so that it leaves room for a reply; how many have more is said.

    Raises InputError where fewer than ``least`` are left.
    """
    if room < 1:
        context = lm.decoder.spec.context
        raise InputError(f"the model's context is {context:,} tokens, and --max-tokens leaves none of them to prompts.")
    fitting = [t for t in tasks if len(lm.encode(t.messages)) <= room]
    if len(fitting) < least:
        raise InputError(
            f"{source}: only {counted(len(fitting), 'prompt')} of at most {room} tokens; give at least {LEAST}."
        )
    if len(fitting) < len(tasks):
        console.print(
            f"{len(tasks) - len(fitting)} of {len(tasks)} prompts are longer than {room} tokens and are left out."
        )
    return fitting


def split_tasks(tasks: Sequence[Task], measure_on: int, seed: int) -> tuple[list[Task], list[Task]]:
    """(training, held out): a fifth at random is held out, at most ``measure_on``."""
    shuffled = list(tasks)
    random.Random(seed).shuffle(shuffled)
    cut = max(1, min(measure_on, len(shuffled) // 5))
    return shuffled[cut:], shuffled[:cut]


def held_out_prompts(prompts: Iterable[P], share: float, seed: int) -> set[P]:
    """About ``share`` of the different prompts, drawn by the seed: nothing is learned from what is said of these."""
    different = list(dict.fromkeys(prompts))
    order = np.random.default_rng([seed, 4]).permutation(len(different))
    return {different[i] for i in order[: int(share * len(different))]}


def say_near_duplicates(train: Sequence[Task], held_out: Sequence[Task], console: Console) -> list[NearDuplicate]:
    """Say which held-out prompts are nearly those that are trained on."""
    found = near_duplicates(train, held_out)
    if found:
        worst = max(found, key=lambda pair: pair.similarity)
        console.print(
            f"{len(found)} of {len(held_out)} held-out prompts are nearly the same as a training prompt (at least "
            f"{SIMILAR:.0%} of their word triples in common), for example {_shown(worst.held_out)!r} and "
            f"{_shown(worst.trained)!r}: what is measured on them tells little of new prompts.",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    return found


def say_known_to_rewards(folders: Sequence[str], held_out: Sequence[Task], console: Console) -> None:
    """Say of each saved reward which held-out prompts it learned from: of those it says more than it would of new ones."""
    for folder in folders:
        file = Path(folder) / TRAINING
        prompts = set(json.loads(file.read_text(encoding="utf-8")).get("prompts", ())) if file.is_file() else set()
        known = [task for task in held_out if task_id(task.messages) in prompts]
        if known:
            console.print(
                f"{len(known)} of {len(held_out)} held-out prompts are among those that the reward {folder} learned from, for "
                f"example {_shown(known[0])!r}: what it says of them tells little of new prompts. Give others with --eval-tasks.",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )


def _shown(task: Task) -> str:
    text = " ".join(task.messages[-1].content.split())
    return text if len(text) <= 80 else text[:77] + "..."
