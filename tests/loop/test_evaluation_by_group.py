"""What a report is told of a reward: whether it agrees with the single judgments of each group of judges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from custodes.audit.sections.values import AnnotatorGroups, RewardOfGroups
from custodes.feedback.simulated import simulated_annotators
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger
from custodes.lm.loading import load
from custodes.loop.evaluation import evaluate_reward_model
from custodes.loop.judging import Judged, believe
from custodes.reward.model import RewardModel
from custodes.types import Episode, Message, Task


def test_every_held_out_judgment_is_held_against_the_reward(tiny_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tasks = [Task(f"t{n}", (Message("user", f"number {n}"),)) for n in range(12)]
    episodes = [
        Episode.written(
            f"{t.id}-{k}", t, (*t.messages, Message("assistant", "fox " * int(rng.integers(1, 30)) + str(k))), "base"
        )
        for t in tasks
        for k in range(3)
    ]
    worth = {e.id: float(rng.random()) for e in episodes}
    people = simulated_annotators({"expert": 4, "expert:brief": 2})
    judgments = [
        person.compare(a.task, a, b, (worth[a.id], worth[b.id]))
        for a in episodes
        for b in episodes
        if a.task is b.task and a.id < b.id
        for person in people
    ]
    judged = Judged({t.id: t for t in tasks}, {e.id: e for e in episodes}, judgments, tuple(people))
    lm = load(str(tiny_model), dtype="float32")
    torch.manual_seed(0)
    reward = RewardModel(lm, nn.Parameter(torch.randn(1, lm.decoder.spec.hidden)))
    held_out = {t.id for t in tasks[:6]}
    with Workspace.open(tmp_path / "run", "quickstart", {}, 0) as work:
        model, groups = believe(work, judged)
        assert groups is not None
        evaluate_reward_model(work, "careful", reward, judged, model, held_out, None, groups.groups)
        run = work.run
    with Ledger.open(tmp_path / "run" / "ledger.db", read_only=True) as ledger:
        (row,) = [RewardOfGroups.read(e) for e in ledger.evaluations(run, RewardOfGroups.NAME)]
        (found,) = [AnnotatorGroups.read(e) for e in ledger.evaluations(run, AnnotatorGroups.NAME)]
    assert set(row.task) <= held_out
    value = dict(zip((e.id for e in episodes), reward.score(episodes).value, strict=True))
    preferences = [j for j in judgments if j.task in held_out and j.strength]
    right = [(value[j.episodes[0]] > value[j.episodes[1]]) == (j.strength > 0) for j in preferences]
    assert len(row.agreed) <= len(right)
    assert abs(np.mean(row.agreed) - np.mean(right)) < 0.1
    likeliest = dict(zip(found.annotator, np.array(found.membership).argmax(axis=1) + 1, strict=True))
    assert set(row.group) <= set(likeliest.values())
    assert found.values is not None
    assert found.values.count("brief") == 2
