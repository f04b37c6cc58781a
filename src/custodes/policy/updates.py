"""A list of updates made one after another: shown as they go, and kept on the way.

Tuning on examples (:func:`custodes.policy.tuning.tune`) knows all of its batches before it
begins. So a run that was killed goes on with the batch after its last checkpoint, and ends where a whole one would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from custodes.job.progress import Progress
from custodes.lm.checkpoint import load_own_checkpoint, save_checkpoint
from custodes.lm.loading import LanguageModel
from custodes.policy.learner import Learner
from custodes.types import Episode

Metrics = dict[str, float]
EVERY = 10
"""Updates between two checkpoints."""


def shuffled_batches(count: int, size: int, epochs: int, seed: int) -> list[list[int]]:
    """Index lists of every update: each epoch covers everything once in an order of its own."""
    batches: list[list[int]] = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(count).tolist()
        batches += [order[i : i + size] for i in range(0, count, size)]
    return batches


def identity_of(lm: LanguageModel, episodes: Sequence[Episode], labels: Sequence[float], config: Any) -> dict[str, str]:
    """What must be equal for a checkpoint to be of the same run: the model as it comes, the examples, the options."""
    examples = hashlib.sha256(repr(list(labels)).encode())
    for episode in episodes:
        examples.update(episode.token_ids.tobytes() + episode.action_mask.tobytes())
    return {
        "model": lm.fingerprint(),
        "examples": examples.hexdigest(),
        "options": type(config).__name__ + json.dumps(asdict(config), sort_keys=True, default=str),
    }


def make_updates(
    learner: Learner,
    batches: Sequence[list[int]],
    update: Callable[[int, list[int]], Metrics],
    *,
    identity: Callable[[], dict[str, str]],
    checkpoints: Path | None = None,
    progress: bool = True,
) -> list[Metrics]:
    """Call ``update`` with (number, batch) for every batch that is not done; the metrics of all of them, in order.

    ``identity`` is asked once, before the first update, and only for checkpoints: it reads every weight. Raises InputError
    where ``checkpoints`` holds some of another run, or cannot be written.
    """
    own = identity() if checkpoints is not None else {}
    metrics = _resume(learner, checkpoints, own) if checkpoints is not None else []
    with Progress(disable=not progress) as bar:
        task = bar.add_task("tuning", total=len(batches), completed=len(metrics))
        for i in range(len(metrics), len(batches)):
            metrics.append(update(i, batches[i]))
            bar.update(task, advance=1, description=f"tuning, loss {metrics[-1]['loss']:.3f}")
            if checkpoints is not None and (i + 1) % EVERY == 0 and i + 1 < len(batches):
                state = {"identity": own, "metrics": metrics, "learner": learner.state_dict()}
                save_checkpoint(checkpoints, i + 1, state)
    return metrics


def _resume(learner: Learner, folder: Path, identity: dict[str, str]) -> list[Metrics]:
    """Return to the last whole checkpoint; the metrics of the updates before it."""
    state = load_own_checkpoint(folder, identity)
    if state is None:
        return []
    learner.load_state_dict(state["learner"])
    return list(state["metrics"])
