"""The end of the main job: base and optimised policies, asked the same by a few probes.

Diversity and entropy are those of the samples at hand. Political leaning and calibration are asked with built-in items, which
takes a minute at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from custodes.audit import Samples
from custodes.audit.probes.calibration import Calibration
from custodes.audit.probes.diversity import Diversity
from custodes.audit.probes.entropy import Entropy
from custodes.audit.probes.political import Political
from custodes.job.workspace import Workspace
from custodes.lm.adapter import Adapter
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.loop.probing import Probing
from custodes.types import Episode, Reward

POLITICAL_ITEMS, CALIBRATION_ITEMS = 60, 100
BASE = "base"


def compare_briefly(
    work: Workspace,
    base: LanguageModel,
    arms: Mapping[str, tuple[Path, str]],
    check: Reward | None,
    measure_on: int,
    seed: int,
) -> None:
    """Ask the base policy and every arm's, and record what the probes found.

    ``arms`` has of each arm the folder of its adapter, and the subject under which its samples are recorded; samples of tasks that
    all share are compared. Items are as many as ``measure_on`` suggests, 60 and 100 at most.
    """
    political, calibration = Political(), Calibration()
    items: dict[str, Sequence[Any]] = {
        "political": political.items(None, min(POLITICAL_ITEMS, measure_on), seed),
        "calibration": calibration.items(None, min(CALIBRATION_ITEMS, 2 * measure_on), seed),
    }
    probes = {"diversity": Diversity(), "entropy": Entropy(), "political": political, "calibration": calibration}
    probing = Probing(work, [BASE, *arms], probes, items)
    subjects = {BASE: BASE} | {arm: subject for arm, (_, subject) in arms.items()}
    drawn = _shared({name: _samples(work, subject) for name, subject in subjects.items()})
    for name in probing.models:
        lm = base if name == BASE else replace(base, adapter=Adapter.load(arms[name][0], base.decoder))
        if drawn[name]:
            probing.look_at(name, drawn[name], check, "the base policy's")
        probing.ask(name, TorchEngine(lm))
    probing.found()


def _samples(work: Workspace, subject: str) -> list[Episode]:
    rows = Samples.recorded(work.ledger, work.run, subject)
    wanted = rows[-1].episode if rows else []
    known = set(wanted)
    episodes = {e.id: e for e in work.ledger.episodes(work.run) if e.id in known} if wanted else {}
    return [episodes[id] for id in wanted]


def _shared(drawn: Mapping[str, Sequence[Episode]]) -> dict[str, list[Episode]]:
    """Of each model the episodes of the tasks that all have, in one order and as many of each task."""
    tasks: dict[str, dict[str, list[Episode]]] = {name: {} for name in drawn}
    for name, own in drawn.items():
        for episode in own:
            tasks[name].setdefault(episode.task.id, []).append(episode)
    first = next(iter(tasks.values()))
    least = {task: min(len(own.get(task, ())) for own in tasks.values()) for task in first}
    return {name: [e for task, n in least.items() for e in own.get(task, ())[:n]] for name, own in tasks.items()}
