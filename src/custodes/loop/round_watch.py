"""Is the reward still right about the policy that it teaches? Watched while a round goes on, from what is recorded.

Now and then a few pairs of a step's replies are judged: the probes. Their answers, against what the reward prefers, feed an
e-process for "right at least as often as held out, less a margin". Two signals cost no label: the KL, and how far the reward's
members disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from custodes.audit.rows import R
from custodes.audit.sections.optimisation import PolicyStep
from custodes.audit.sections.rounds import ProbeAsked, ProbeLabels, RoundAlarm, agreed, alarm_sentence
from custodes.job.workspace import Workspace
from custodes.ledger import Decision
from custodes.loop.round_judges import PairAnswers, PairJudge, Waiting, answers, preference
from custodes.loop.round_options import RoundOptions
from custodes.loop.round_pairs import Pair, one_pair_each
from custodes.policy.rollout import has_opinion
from custodes.stats import Interval, log_evidence_below
from custodes.types import Episode, InputError, Scores

SMOOTHED = 3
"""Steps over which the members' disagreement is averaged."""


class UnansweredError(InputError):
    """People have not answered a probe yet; what was learned is saved. Whoever started the round waits and goes on."""


@dataclass
class RewardWatch:
    """Watches one round. What it says of a step depends on what is recorded up to there alone, so that a run can go on."""

    work: Workspace
    arm: str
    judge: PairJudge
    options: RoundOptions
    held_out: Interval
    """The reward's accuracy on held-out pairs."""
    axis: str
    seed: int
    labelled_at: float = 0.0
    """KL, nats an episode, of the policy whose replies were judged last; 0 for the first one's."""
    labels: dict[int, ProbeLabels] = field(init=False)
    rang: RoundAlarm | None = field(init=False, default=None)
    unanswered: int | None = field(init=False, default=None)
    """The step whose probe people have not answered."""

    def __post_init__(self) -> None:
        self.labels = {row.step: row for row in self._recorded(ProbeLabels)}
        self.rang = next(iter(self._recorded(RoundAlarm)), None)
        self.steps = {row.step: row for row in self._recorded(PolicyStep)}
        asked = {row.step for row in self._recorded(ProbeAsked)}
        self.unanswered = max(asked - self.labels.keys(), default=None)

    @property
    def limit(self) -> float:
        """The accuracy below which the reward is no longer to be believed."""
        return min(max(self.held_out.estimate - self.options.trigger.bound, 0.01), 0.99)

    def seen(self, recorded: PolicyStep, episodes: Sequence[Episode], scores: Scores) -> None:
        """Take in a step that was made and recorded: its own replies are what is judged."""
        step = recorded.step
        self.steps[step] = recorded
        if step % self.options.probe_every == 0 and step not in self.labels:
            self._ask(step, episodes, scores)
        if self.unanswered is None:
            self._look(step)

    def over(self, made: int) -> bool:
        """Whether the round ends, or must wait, after so many steps."""
        ends = [step for step in (self.rang.step if self.rang else None, self.unanswered) if step is not None]
        return any(made >= step for step in ends)

    def ended(self) -> None:
        """Raises UnansweredError where the round only pauses."""
        if self.unanswered is not None:
            raise UnansweredError(f"the probe of step {self.unanswered} is not answered")

    def settle(self) -> None:
        """Wait for the probe that is not answered, where there is one, and look at what it says."""
        if self.unanswered is None:
            return
        step = self.unanswered
        pairs, margin = self._asked(step)
        self._take(
            step,
            pairs,
            margin,
            answers(self.work, self.judge, self._purpose(step), pairs, self.axis, self.options.wait_hours),
        )
        self.unanswered = None
        self._look(step)

    def _ask(self, step: int, episodes: Sequence[Episode], scores: Scores) -> None:
        id = f"probe-asked-{self.arm}-{step}"
        if not self.work.has(id):
            judged = has_opinion(scores)
            of_episode = {e.id: float(scores.value[i]) for i, e in enumerate(episodes) if judged[i]}
            known = [e for e in episodes if e.id in of_episode]
            pairs = one_pair_each(known, self.options.probe_labels, [self.seed, step, 13])
            margin = [of_episode[a.id] - of_episode[b.id] for a, b in pairs]
            first, second = [a.id for a, _ in pairs], [b.id for _, b in pairs]
            self.work.record(id, ProbeAsked(step=step, first=first, second=second, margin=margin), self.arm)
        pairs, margin = self._asked(step, episodes)
        if isinstance(self.judge.ask(self._purpose(step), pairs), Waiting):
            self.unanswered = step
            return
        self._take(step, pairs, margin, answers(self.work, self.judge, self._purpose(step), pairs, self.axis, 0.0))

    def _asked(self, step: int, episodes: Sequence[Episode] = ()) -> tuple[list[Pair], list[float]]:
        """The pairs of a probe and the reward's margins, as they were recorded."""
        (row,) = (row for row in self._recorded(ProbeAsked) if row.step == step)
        wanted = {*row.first, *row.second}
        held = {e.id: e for e in episodes if e.id in wanted}
        if wanted - held.keys():
            held = {e.id: e for e in self.work.ledger.episodes(self.work.run) if e.id in wanted}
        return [(held[a], held[b]) for a, b in zip(row.first, row.second, strict=True)], row.margin

    def _take(self, step: int, pairs: Sequence[Pair], margin: list[float], told: PairAnswers) -> None:
        row = ProbeLabels(
            step=step,
            task=[a.task.id for a, _ in pairs],
            margin=margin,
            label=[preference(told.judgments, pair) for pair in pairs],
            judgments=len(told.judgments),
            seconds=told.seconds,
        )
        self.work.record(f"probe-labels-{self.arm}-{step}", row, self.arm)
        self.labels[step] = row

    def _look(self, step: int) -> None:
        """Ring where the trigger's signal is beyond its bound after ``step``; a round rings once."""
        if self.rang is not None or (found := self._signal(step)) is None:
            return
        self.rang = RoundAlarm(step=step, signal=self.options.trigger.signal, **found)
        self.work.record(f"round-alarm-{self.arm}", self.rang, self.arm)
        why = alarm_sentence(self.rang.metrics())
        self.work.write(
            [Decision(f"alarm-{self.arm}", "ended the round: the reward is no longer to be believed", why, self.arm)]
        )
        self.work.console.print(f"Alarm: {why}.", soft_wrap=True, highlight=False)

    def _signal(self, step: int) -> dict[str, Any] | None:
        trigger = self.options.trigger
        if trigger.signal == "accuracy":
            rows = [self.labels[s] for s in sorted(self.labels) if s <= step]
            right = [x for row in rows for x in agreed(row.margin, row.label)]
            evidence = log_evidence_below(right, self.limit) if right else np.zeros(1)
            if evidence.max() < math.log(1 / self.options.alarm_level):
                return None
            told = {"value": float(np.mean(right)), "limit": self.limit, "labels": len(right)}
            return told | {"evidence": float(evidence.max()), "level": self.options.alarm_level}
        if trigger.signal == "kl":
            kl = self.steps[step].kl
            beyond = None if kl is None else kl - self.labelled_at
            return None if beyond is None or beyond < trigger.bound else {"value": beyond, "limit": trigger.bound}
        spread = [
            (s, row.proxy_std) for s, row in sorted(self.steps.items()) if s <= step and row.proxy_std is not None
        ]
        if len(spread) <= SMOOTHED or not spread[0][1]:
            return None
        times = float(np.mean([value for _, value in spread[-SMOOTHED:]])) / spread[0][1]
        return None if times < trigger.bound else {"value": times, "limit": trigger.bound}

    def _purpose(self, step: int) -> str:
        return f"the probe of {self.arm}, step {step}"

    def _recorded(self, kind: type[R]) -> list[R]:
        return kind.recorded(self.work.ledger, self.work.run, self.arm)
