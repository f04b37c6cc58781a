"""Prompts that are nearly the same: what a policy has been trained on tells little of what it can do."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from custodes.types import Task

WORD = re.compile(r"\w+")
SIMILAR = 0.8
"""Share of word triples in common from which two prompts are nearly the same."""


class NearDuplicate(NamedTuple):
    """A held-out prompt and the training prompt that is most like it."""

    held_out: Task
    trained: Task
    similarity: float
    """Word triples of both, of those of either (Jaccard)."""


def near_duplicates(train: Sequence[Task], held_out: Sequence[Task], similar: float = SIMILAR) -> list[NearDuplicate]:
    """Every held-out task with a training task that shares at least ``similar`` of the word triples of its prompts.

    Case, marks and system messages do not count. Found by an index of triples: each held-out prompt is compared with those
    training prompts alone that share one.
    """
    shingles = [_triples(task) for task in train]
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, triples in enumerate(shingles):
        for triple in triples:
            index[triple].append(i)
    found = []
    for task in held_out:
        own = _triples(task)
        shared = Counter(i for triple in own for i in index.get(triple, ()))
        scored = [(count / (len(own) + len(shingles[i]) - count), i) for i, count in shared.items()]
        best, i = max(scored, default=(0.0, -1))
        if best >= similar:
            found.append(NearDuplicate(task, train[i], best))
    return found


def _triples(task: Task) -> set[tuple[str, ...]]:
    """Runs of three words of a prompt; of a shorter prompt, all of it."""
    words = WORD.findall(" ".join(m.content for m in task.messages if m.role != "system").casefold())
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
