"""What an optimisation gained on held-out prompts, read back from what it recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custodes.audit import RecordedRun
from custodes.audit.heldout import chosen_row, task_matrix, turn_of_gold
from custodes.audit.overoptimisation import OveroptimisationTest
from custodes.audit.sections.alarms import alarms_of
from custodes.audit.sections.objectives import constraint_outcomes, part_gain, part_level
from custodes.files import plain_json
from custodes.job.workspace import Workspace
from custodes.stats import Interval, mean_interval, paired_difference


@dataclass(frozen=True)
class Gain:
    """One run: the held-out reward of the base model and of the policy, paired by prompt."""

    policy: str
    seed: int
    steps: int
    stopped: str
    before: Interval
    after: Interval
    difference: Interval
    kl: Interval
    """Nats an episode, from the policy to the base, on the policy's own replies."""
    gold: Interval | None = None
    """The difference in gold, where there is one."""
    parts: dict[str, tuple[Interval | None, Interval | None]] = field(default_factory=dict)
    """Objective -> its mean on held-out prompts under the policy, and what it gained, paired; None where it is not known."""
    constraints: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Constraint -> what became of it (:func:`custodes.audit.sections.objectives.constraint_outcomes`)."""
    rounds: dict[str, Any] = field(default_factory=dict)
    """What became of rounds (:func:`custodes.audit.sections.rounds.round_figures`), where there were several."""
    alarms: dict[str, Any] = field(default_factory=dict)
    """What watched, what rang and on what evidence (:func:`custodes.audit.sections.alarms.alarms_of`)."""
    report: Path | None = None
    overoptimisation: OveroptimisationTest | None = None
    """Whether gold turned down, or stayed behind the reward, by the end; where there is gold."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("before", "after", "difference", "kl", *(["gold"] if self.gold is not None else []))
        intervals = {name: getattr(self, name).to_dict() for name in names}
        told = {"policy": self.policy, "seed": self.seed, "steps": self.steps, "stopped": self.stopped}
        more: dict[str, Any] = {"report": str(self.report)} if self.report else {}
        if self.parts:
            more["parts"] = {name: dict(zip(("mean", "gain"), both, strict=True)) for name, both in self.parts.items()}
        if self.overoptimisation is not None:
            more["overoptimisation"] = self.overoptimisation
        if self.constraints:
            more["constraints"] = self.constraints
        if self.alarms:
            more["alarms"] = self.alarms
        if self.rounds:
            more["rounds"] = self.rounds
        return told | intervals | dict(plain_json(more))


def gain_of(work: Workspace, arm: str, policy: str, seed: int, steps: int, stopped: str) -> Gain:
    """The gain of an arm whose held-out prompts were measured at step 0 and at its end."""
    source = RecordedRun(work.ledger, work.run)
    rows = source.heldout[arm]
    ends = [rows[0], chosen_row(rows)]
    proxy, gold = task_matrix(ends, "proxy"), task_matrix(ends, "gold")
    assert proxy is not None  # every row has it
    return Gain(
        policy,
        seed,
        steps,
        stopped,
        mean_interval(proxy[0]),
        mean_interval(proxy[1]),
        paired_difference(proxy[1], proxy[0]),
        mean_interval(ends[1].kl),
        None if gold is None else paired_difference(gold[1], gold[0]),
        {name: (part_level(ends[1], name), part_gain(ends[0], ends[1], name)) for name in ends[0].parts or ()},
        constraint_outcomes(source, arm),
        overoptimisation=turn_of_gold(rows),
        alarms=alarms_of(source, arm),
    )


def gains_over_seeds(gains: Sequence[Gain]) -> Interval:
    """Student's t over the runs' differences: what to expect of another seed."""
    return mean_interval([gain.difference.estimate for gain in gains])
