"""Judges with and without help in the quickstart: the arms, equal minutes, and what the report says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from custodes.audit.record import RecordedRun
from custodes.audit.sections.assisted import AssistedLabels, AssistedSection
from custodes.environments import gold, instruction_tasks
from custodes.feedback.assisted import SimulatedCritic, minutes
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger
from custodes.loop.assisted_labels import judge_with_and_without_help, record_assisted_labels
from custodes.loop.quickstart import Quickstart, quickstart
from custodes.reward.base import RewardBase
from custodes.types import Episode, InputError, Message, Scores


class Knows(RewardBase):
    """Gold, or chance."""

    def __init__(self, share: float) -> None:
        self.share = share

    def score(self, episodes: list[Episode]) -> Scores:
        draw = np.random.default_rng(0)
        return Scores(
            np.array([gold(e.task, e.completion) if draw.random() < self.share else draw.random() for e in episodes])
        )


def test_equal_minutes_labels_and_paired_differences_are_told(tmp_path: Path) -> None:
    tasks = instruction_tasks(400)[:80]
    texts = (
        "The {} is well known to many people.",
        "Many like the {}. It is old. It is new.",
        "Oh the {}! Is it not fine?",
    )
    episodes = [
        Episode.written(f"{t.id}-{k}", t, (*t.messages, Message("assistant", text.format(t.metadata["topic"]))), "base")
        for t in tasks
        for k, text in enumerate(texts)
    ]
    held_out = {t.id for t in tasks[:30]}
    critic = SimulatedCritic(catch=0.2, helped=0.9, misled=0.05, reading=12)
    with Workspace.open(tmp_path / "run", "quickstart", {}) as work:
        work.console = Console(quiet=True)
        work.ledger.write(work.run, [*tasks, *episodes])
        arms = judge_with_and_without_help(work, episodes, gold, {"expert": 6}, 3, 0, critic, held_out)
        taught = {arm: [j for j in judged.judgments if j.task not in held_out] for arm, judged in arms.items()}
        assert minutes(taught["assisted"]) <= minutes(taught["alone"]) < minutes(taught["assisted"]) + 5
        assert len(taught["assisted"]) < len(taught["alone"])
        for arm, share in (("alone", 0.3), ("assisted", 1.0)):
            record_assisted_labels(work, arm, arms[arm], gold, critic, held_out, Knows(share))  # type: ignore[arg-type]
        run = work.run
    with Ledger.open(tmp_path / "run" / "ledger.db", read_only=True) as ledger:
        source = RecordedRun(ledger, run)
        rows, figures = source.last(AssistedLabels), AssistedSection(source).read()
    assert rows["alone"].task == rows["assisted"].task  # the same pairs
    assert set(rows["alone"].task) <= held_out
    assert np.mean(rows["assisted"].right) == 1.0
    assert figures["arms"]["assisted"]["labels"].estimate > figures["arms"]["alone"]["labels"].estimate + 0.1
    assert figures["differences"]["accuracy"].low > 0
    assert any("A critic's help raises accuracy on held-out pairs" in s for s in figures["sentences"])


def test_the_quickstart_compares_help_and_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    small = {"judged_tasks": 16, "steps": 1, "evaluate_every": 2, "measure_on": 4, "compare_best_of": 4, "reward_epochs": 1,
             "members": 2, "max_tokens": 8, "threads": 1}  # fmt: skip
    config = Quickstart(
        model=str(tiny_model), out=tmp_path / "out", assist="simulated:catch=.3,helped=.6,misled=.1", **small
    )  # type: ignore[arg-type]
    page = quickstart(config)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    arms = report["assisted"]["arms"]
    assert arms["assisted"]["comparisons"] < arms["alone"]["comparisons"]
    assert "Labels with a critic" in page.read_text()
    for arm in ("alone", "assisted"):
        assert (tmp_path / "out" / "policy" / arm / "adapter").is_dir()
    before = (tmp_path / "out" / "policy" / "alone" / "adapter").stat().st_mtime_ns
    quickstart(config)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["assisted"] == report["assisted"]
    assert before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"arms": "all"}, "leave out --arms all"),
        ({"judgments": "mine.jsonl"}, "leave out --judgments"),
        ({"assist": "simulated:catch=2"}, "catch is '2'"),
        ({"assist": "runs/critic"}, "is no critic"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        quickstart(Quickstart(**{"assist": "simulated:", "out": tmp_path / "out"} | options))
