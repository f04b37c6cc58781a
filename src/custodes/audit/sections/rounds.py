"""Rounds: what ended each, what its labels cost, and how right every reward was where it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.rows import Row
from custodes.page import charts, number, percent, signed
from custodes.registry import section
from custodes.stats import Interval, paired_difference, rate

FINAL = "the final policy"
"""Where every reward is asked at the end."""


@dataclass(frozen=True, kw_only=True)
class RoundAsked(Row):
    """Since when people are asked about pairs; ``subject`` is what for."""

    NAME: ClassVar[str] = "round_asked"

    since: str  # ISO 8601, UTC
    pairs: int


@dataclass(frozen=True, kw_only=True)
class ProbeAsked(Row):
    """The pairs of a step that are judged to see whether the reward is still right; ``subject`` is the arm."""

    NAME: ClassVar[str] = "probe_asked"
    ALIGNED = ("first", "second", "margin")

    step: int
    first: list[str]  # ids of episodes
    second: list[str]
    margin: list[float]  # the reward of the first minus that of the second


@dataclass(frozen=True, kw_only=True)
class ProbeLabels(Row):
    """What was said of them; ``label`` is 1 for the first, -1 for the second, 0 where it is left open."""

    NAME: ClassVar[str] = "probe_labels"
    ALIGNED = ("task", "margin", "label")

    step: int
    task: list[str]
    margin: list[float]
    label: list[int]
    judgments: int = 0
    seconds: float = 0.0  # of the annotators' time


@dataclass(frozen=True, kw_only=True)
class RoundAlarm(Row):
    """What rang, and what it saw; ``subject`` is the arm."""

    NAME: ClassVar[str] = "round_alarm"

    step: int
    signal: str
    value: float
    limit: float
    labels: int | None = None  # that decide, up to there: of accuracy
    evidence: float | None = None  # log of the e-process, nats
    level: float | None = None  # probability that it ever rings without cause


@dataclass(frozen=True, kw_only=True)
class RoundEnded(Row):
    """A round that is over; ``subject`` is the arm."""

    NAME: ClassVar[str] = "round_ended"

    round: int
    reward: str
    steps: int
    stopped: str
    kl: float | None  # nats an episode from the first policy, of the last step


@dataclass(frozen=True, kw_only=True)
class RoundLabelled(Row):
    """What was judged after a round, or of the final policy; ``subject`` is the arm."""

    NAME: ClassVar[str] = "round_labelled"

    judge: str
    choice: str
    pairs: int
    judgments: int
    seconds: float  # of the annotators' time
    tokens: int  # sampled, to have pairs


@dataclass(frozen=True, kw_only=True)
class RoundReward(Row):
    """A reward of a round; ``subject`` is its name."""

    NAME: ClassVar[str] = "round_reward"

    round: int
    held_out: dict[str, Any]  # interval of its accuracy on pairs that no reward learned from
    judgments: int  # of the rounds, that it learned from beside those of the first reward
    model: str = ""  # content hash


@dataclass(frozen=True, kw_only=True)
class RewardOnPairs(Row):
    """A reward on judged pairs that it did not learn from; ``subject`` is its name."""

    NAME: ClassVar[str] = "reward_on_pairs"
    ALIGNED = ("task", "margin", "label")

    where: str  # whose replies: an arm, or the final policy
    task: list[str]
    margin: list[float]
    label: list[int]


@dataclass(frozen=True, kw_only=True)
class Relearned(Row):
    """The final policy and one that learned from the final reward alone, on the same held-out tasks; ``subject`` is the arm."""

    NAME: ClassVar[str] = "relearned"
    ALIGNED = ("task", "proxy", "proxy_relearned", "gold", "gold_relearned")

    steps: int
    task: list[str]
    proxy: list[float]
    proxy_relearned: list[float]
    gold: list[float] | None = None
    gold_relearned: list[float] | None = None


def agreed(margin: Sequence[float], label: Sequence[int]) -> list[int]:
    """1 where a reward orders a pair as it was judged, else 0; pairs that were left open are left out."""
    return [int(m * side > 0) for m, side in zip(margin, label, strict=True) if side]


def _accuracy_on(row: ProbeLabels | RewardOnPairs) -> Interval:
    """Share of the decided pairs that the reward orders as they were judged, with tasks as clusters."""
    tasks = [task for task, side in zip(row.task, row.label, strict=True) if side]
    return rate(agreed(row.margin, row.label), tasks)


def round_figures(source: RecordedRun) -> dict[str, Any]:
    """``rounds``, ``rewards``, what was ``labelled``, and what was ``relearned``, None where that was not asked.

    Empty where there were no rounds.
    """
    ended = source.last(RoundEnded)
    if not ended:
        return {}
    rounds = [_round(source, arm, row) for arm, row in sorted(ended.items(), key=lambda item: item[1].round)]
    rewards = []
    for name, row in sorted(source.last(RoundReward).items(), key=lambda item: item[1].round):
        asked = {pairs.where: _accuracy_on(pairs) for pairs in source.rows(RewardOnPairs).get(name, [])}
        held_out = Interval.from_dict(row.held_out)
        rewards.append(
            {"name": name, "round": row.round, "held_out": held_out, "judgments": row.judgments, "on": asked}
        )
    figures: dict[str, Any] = {"rounds": rounds, "rewards": rewards, "labelled": {}, "relearned": None}
    figures["labelled"] = {arm: row.metrics() for arm, row in source.last(RoundLabelled).items()}
    for arm, again in source.last(Relearned).items():
        figures["relearned"] = {
            "arm": arm,
            "steps": again.steps,
            "proxy": paired_difference(again.proxy_relearned, again.proxy),
            "gold": None
            if again.gold is None or again.gold_relearned is None
            else paired_difference(again.gold_relearned, again.gold),
        }
    return figures


def _round(source: RecordedRun, arm: str, row: RoundEnded) -> dict[str, Any]:
    probes = sorted(source.rows(ProbeLabels).get(arm, []), key=lambda probe: probe.step)
    alarm = source.last(RoundAlarm).get(arm)
    right = [(probe.step, r) for probe in probes for r in agreed(probe.margin, probe.label)]
    so_far = np.cumsum([r for _, r in right]) / np.arange(1, len(right) + 1)
    course = {step: float(share) for (step, _), share in zip(right, so_far, strict=True)}
    tasks = [task for probe in probes for task, side in zip(probe.task, probe.label, strict=True) if side]
    return {
        "arm": arm,
        **row.metrics(),
        "alarm": None if alarm is None else alarm.metrics(),
        "accuracy": rate([r for _, r in right], tasks),
        "course": list(course.items()),
        "probes": {
            "judgments": sum(probe.judgments for probe in probes),
            "seconds": sum(probe.seconds for probe in probes),
        },
    }


def alarm_sentence(alarm: Mapping[str, Any]) -> str:
    """What rang and on what evidence."""
    value, limit, step = alarm["value"], alarm["limit"], alarm["step"]
    if alarm["signal"] == "accuracy":
        return (
            f"at step {step} the reward was right on {percent(value)} of {alarm['labels']:,} judged pairs of the policy's replies; "
            f"evidence {number(np.exp(alarm['evidence']))} against at least {percent(limit)} (it rings at {number(1 / alarm['level'])}, "
            f"so that at most {percent(alarm['level'])} of rounds without cause do)"
        )
    if alarm["signal"] == "kl":
        return f"at step {step} the policy was {number(value)} nats beyond where labels are, and {number(limit)} are allowed"
    return f"at step {step} the reward's members disagreed {number(value)} times as much as at the round's first step, and {number(limit)} is the limit"


@section
class RoundsSection(RunSection):
    """Rounds with what ended them and what they cost, and the rewards side by side."""

    title = "Rounds"
    place = 46
    rank = 4
    template = """
{% if figures %}
<table class="wide-table">
  <thead><tr><th>Round</th><th>Steps</th><th>KL, nats</th><th>Accuracy on probes</th><th>Ended by</th><th>Judgments asked then</th><th>Annotators' time, s</th><th>Tokens sampled for them</th></tr></thead>
  {% for r in figures.rounds %}{% set l = figures.labelled.get(r.arm) %}<tr><th scope="row">{{ r.round }}<small>{{ r.reward }}</small></th><td data-label="steps">{{ r.steps }}</td><td data-label="KL">{{ r.kl | number }}</td>{{ cell("accuracy on probes", r.accuracy, n=true) }}<td data-label="ended by">{{ "alarm of " ~ r.alarm.signal if r.alarm else r.stopped }}</td><td data-label="labels">{{ l.judgments | number ~ " by " ~ l.judge if l else "none" }}<small>probes: {{ r.probes.judgments | number }}</small></td><td data-label="annotators' time">{{ ((l.seconds if l else 0) + r.probes.seconds) | number }}</td><td data-label="tokens">{{ (l.tokens if l else 0) | number }}</td></tr>
{% endfor %}{% set l = figures.labelled.get(section.final) %}{% if l %}<tr><th scope="row">The end<small>how right each reward is</small></th><td></td><td></td><td></td><td></td><td data-label="labels">{{ l.judgments | number }} by {{ l.judge }}</td><td data-label="annotators' time">{{ l.seconds | number }}</td><td data-label="tokens">{{ l.tokens | number }}</td></tr>{% endif %}</table>
{% if charts.key %}<div class="key">{{ charts.key | safe }}</div>{% endif %}
{{ figure(charts.course, "Accuracy of the reward on judged pairs of the policy's own replies, over the labels of the round so far. A line for each round.") }}
<table class="wide-table">
  <thead><tr><th>Reward</th><th>Held out</th>{% for r in figures.rounds %}<th>Replies of round {{ r.round }}</th>{% endfor %}<th>Final policy</th></tr></thead>
  {% for w in figures.rewards %}<tr><th scope="row">{{ w.name }}<small>{{ w.judgments | number }} judgments of rounds</small></th>{{ cell("held out", w.held_out, n=true) }}{% for r in figures.rounds %}{{ cell("round " ~ r.round, w.on.get(r.arm), n=true) }}{% endfor %}{{ cell("final policy", w.on.get(section.final), n=true) }}</tr>
{% endfor %}</table>
<p class="reading">A reward is stale on the replies of the round that it taught, and fresh on them once they were judged. All pairs here were drawn at random, and none was learned from.</p>
{% if figures.relearned %}<table class="kv">{{ row("Relearned from the final reward, minus the policy of the rounds: reward", figures.relearned.proxy, "signed", "paired by task") }}{% if figures.relearned.gold %}{{ row("The same: gold", figures.relearned.gold, "signed", "paired by task") }}{% endif %}</table>{% endif %}
{% else %}<p class="none">One reward, which was not taught again.</p>{% endif %}
"""

    @property
    def final(self) -> str:
        return FINAL

    def read(self) -> dict[str, Any]:
        return round_figures(self.source)

    def claims(self) -> list[str]:
        return round_sentences(self.figures) if self.figures else []

    def charts(self) -> dict[str, Any]:
        courses = {f"round {r['round']}": r["course"] for r in self.figures.get("rounds", ())}
        drawn = any(len(course) > 1 for course in courses.values())
        course = charts.step_chart(courses, "Accuracy on probes") if drawn else ""
        return {"course": course, "key": charts.series_key(list(courses)) if drawn else ""}

    def limits(self) -> list[str]:
        if not self.figures:
            return []
        return [
            "Probe labels come from the judges of the rounds; the held-out ones from whoever judged for the first reward."
        ]


def round_sentences(figures: Mapping[str, Any]) -> list[str]:
    """Each round, and every reward on the final policy's replies, in words."""
    said = []
    for r in figures["rounds"]:
        ended = f"ended by an alarm: {alarm_sentence(r['alarm'])}" if r["alarm"] else f"ended by its {r['stopped']}"
        cost = figures["labelled"].get(r["arm"])
        asked = (
            f"; then {cost['judgments']:,} judgments of {cost['pairs']:,} pairs taught the reward again"
            if cost and r["alarm"]
            else ""
        )
        said.append(f"Round {r['round']} {ended}{asked}.")
    for w in figures["rewards"]:
        if (on := w["on"].get(FINAL)) is not None:
            said.append(f"On the final policy's replies the {w['name']} is right on {on}; held out on {w['held_out']}.")
    if again := figures.get("relearned"):
        gold = f", gold {_signed(again['gold'])}" if again["gold"] else ""
        said.append(
            f"A second policy that learned from the final reward alone differs by {_signed(again['proxy'])} in that reward{gold}, "
            "paired by task."
        )
    return said


def _signed(interval: Interval) -> str:
    return f"{signed(interval.estimate)} [{signed(interval.low)}, {signed(interval.high)}] (n = {interval.n:,})"
