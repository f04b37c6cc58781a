"""Alarms along an optimisation: set by the base policy's replies, read after every step, recorded, and where asked obeyed."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from custodes import registry
from custodes.audit.rows import PolicyHeldout
from custodes.audit.sections.alarms import AlarmsSet, AlarmStep
from custodes.audit.sections.optimisation import PolicyStep
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Evaluation
from custodes.loop.optimised_arm import OptimisedArm
from custodes.loop.round_judges import PairJudge, Waiting, preference
from custodes.loop.round_pairs import one_pair_each
from custodes.page import percent
from custodes.policy import algorithm_of
from custodes.policy.alarm import Alarm, BasePolicy, Facts, Observation, WatchedStep
from custodes.policy.rollout import has_opinion
from custodes.ranges import Count, ranged
from custodes.types import Episode, InputError, Scores

BASE_LABELS = 200
"""Pairs of the base policy's replies that are labelled: what the reward's accuracy is held against."""
STOPPED_BY_ROUNDS = "--stop-at stops a run; with --rounds it is --relabel that says what ends a round."
NAMED = re.compile(r"(?s)(?P<name>.*?)(?::(?P<tolerance>-?\d*\.?\d+(?:[eE]-?\d+)?))?")


@dataclass(frozen=True, kw_only=True)
@ranged
class AlarmOptions:
    """Which alarms watch an optimisation, and which of them stop it."""

    stop_at: tuple[str, ...] = ()
    """Alarms that stop the run: accuracy, disagreement, kl, length, repetition, with a tolerance of their own as in kl:8.
    All of them watch in any case."""
    watch: tuple[str, ...] = ()
    """Alarms with another tolerance that only watch, as in length:2; or one more of your own, FILE.py:Name."""
    alarm_tasks: Count = 64
    """Prompts whose replies by the base policy say what is usual."""

    def __post_init__(self) -> None:
        self.alarms()

    def alarms(self) -> dict[str, Alarm]:
        """Every alarm by its name. Raises InputError for one that there is not, and for a tolerance that cannot be."""
        made = {name: registry.alarm.make(name) for name in registry.alarm.names()}
        named = [_read(option, text) for option in ("watch", "stop_at") for text in getattr(self, option)]
        names = [name for name, _ in named]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"the alarm {twice[0]} is named twice by --stop-at and --watch; name it once.")
        return made | dict(named)

    @property
    def acting(self) -> set[str]:
        """Names of the alarms that stop the run."""
        return {_read("stop_at", text)[0] for text in self.stop_at}


def _read(option: str, text: str) -> tuple[str, Alarm]:
    match = NAMED.fullmatch(text)
    assert match is not None  # anything is a name
    name, tolerance = match["name"], match["tolerance"]
    alarm: Alarm = registry.alarm.make(name, **({} if tolerance is None else {"tolerance": float(tolerance)}))
    if alarm.tolerance < alarm.least:
        flag = option.replace("_", "-")
        raise InputError(
            f"--{flag} {text}: the tolerance of {name} must be {alarm.least:g} or more, as in {name}:{type(alarm).tolerance:g}."
        )
    return name if ".py" in name else name.replace("-", "_").lower(), alarm


class _AlarmWatch:
    """The alarms of one arm. What they say of a step depends on what is recorded up to there, so that a run can go on."""

    def __init__(
        self, arm: OptimisedArm, options: AlarmOptions, made: AlarmsSet, judge: PairJudge | None, probe: tuple[int, int]
    ) -> None:
        """``probe`` is how many pairs are labelled, and every how many steps."""
        self.work, self.arm, self.made, self.judge, self.probe = arm.work, arm.arm, made, judge, probe
        self.seed, alarms = arm.options.sampling.seed, options.alarms()
        self.alarms = {name: alarms[name] for name, why in zip(made.alarm, made.why_not, strict=True) if not why}
        self.acting = {name for name, acts in zip(made.alarm, made.acts, strict=True) if acts}
        self.steps = {row.step: row for row in AlarmStep.recorded(self.work.ledger, self.work.run, self.arm)}

    def seen(self, recorded: PolicyStep, episodes: Sequence[Episode], scores: Scores) -> None:
        """Take in a step that was made and recorded; one that is made again says what it said."""
        step = recorded.step
        if step in self.steps:
            return
        count, every = self.probe
        agreed = []
        if "accuracy" in self.alarms and step % every == 0:
            agreed = _agreements(
                self.work, self.judge, f"probe of {self.arm}, step {step}", episodes, scores, count, [self.seed, step]
            )
        look = WatchedStep(episodes, scores, recorded.kl, agreed)
        before = [self.steps[s] for s in sorted(self.steps) if s < step]
        observed = {name: alarm.observe(look) for name, alarm in self.alarms.items()}
        row = read_alarms_at(step, observed, self.alarms, self.made, before)
        rang = {name for of in before for name, rings in zip(of.alarm, of.rings, strict=True) if rings}
        self.steps[step] = row
        read = zip(row.alarm, row.sight, row.rings, strict=True)
        new = [(name, sight) for name, sight, rings in read if rings and name not in rang]
        decisions = [decision for name, sight in new for decision in self._ring(step, name, sight)]
        said = Evaluation(f"alarm-step-{self.arm}-{step}", row.NAME, self.arm, row.metrics(), row.n)
        self.work.write([said, *decisions])

    def over(self, made: int) -> bool:
        """Whether an alarm that acts has rung within so many steps."""
        return any(
            rings and name in self.acting
            for row in self.steps.values()
            if row.step <= made
            for name, rings in zip(row.alarm, row.rings, strict=True)
        )

    def ended(self) -> None:
        """A run that an alarm stopped is over."""

    def _ring(self, step: int, name: str, sight: str) -> list[Decision]:
        why = f"{sight}; without a cause it rings in at most {percent(self.made.level)} of runs"
        decisions = [Decision(f"alarm-{self.arm}-{name}", f"the alarm {name} rang at step {step}", why, self.arm)]
        if name in self.acting:
            what = f"stopped the optimisation after step {step}, whose policy is handed over"
            decisions.append(Decision(f"stop-{self.arm}-{name}", what, f"the alarm {name}: {why}", self.arm))
        end = "The run stops here." if name in self.acting else "It only watches."
        self.work.console.print(f"The alarm {name} rings: {why}. {end}", soft_wrap=True, highlight=False)
        return decisions


def set_alarms(
    arm: OptimisedArm,
    options: AlarmOptions,
    judge: PairJudge | None,
    probe: tuple[int, int],
    level: float,
) -> None:
    """Let alarms watch an arm, set by replies of the base policy to prompts of its training; recorded, and done once.

    ``judge`` labels pairs of replies, ``probe`` how many and every how many steps. An arm that only samples the base policy is not
    watched. Raises InputError where an alarm that is to stop the run cannot watch.
    """
    work, optimisation = arm.work, arm.options
    sampling = optimisation.sampling
    if algorithm_of(optimisation.algorithm).draws_from == "reference":
        if options.stop_at:
            raise InputError(
                "--stop-at watches replies of the policy, and this algorithm draws from the model as it came."
            )
        return
    arm.measure_base()  # by which simulated people see gold, and a reward shows whether its members disagree
    measured = PolicyHeldout.recorded(work.ledger, work.run, arm.arm)
    disagrees = any(row.step == 0 and row.proxy_std is not None for row in measured)
    found = AlarmsSet.recorded(work.ledger, work.run, arm.arm)
    if not found:
        with work.phase("sampling", f"Replies of the base policy, which set the alarms, {arm.arm} arm"):
            order = np.random.default_rng([sampling.seed, 19]).permutation(len(arm.train))
            asked = [arm.train[int(i)] for i in order[: options.alarm_tasks]]
            drawn = work.sample(
                "alarms, base policy", arm.make_engine(arm.base), asked, replace(sampling, seed=sampling.seed + 5)
            )
            scores = arm.reward.score(drawn) if judge is not None or disagrees else None  # a reward may cost money
            agreed = []
            if scores is not None:
                purpose = f"probe of {arm.arm}, base policy"
                agreed = _agreements(work, judge, purpose, drawn, scores, BASE_LABELS, [sampling.seed, 0])
            size = optimisation.tasks_per_step * sampling.n
            looks = [WatchedStep(drawn[i : i + size], _rows(scores, i, i + size)) for i in range(0, len(drawn), size)]
            base = BasePolicy([*looks, WatchedStep(agreed=agreed)], optimisation.tasks_per_step)
            alarms = options.alarms()
            facts = {name: alarm.calibrate(base, optimisation.steps, level) for name, alarm in alarms.items()}
            found = [alarms_set(alarms, facts, options.acting, optimisation.steps, level)]
            work.record(f"alarms-set-{arm.arm}", found[0], arm.arm)
    arm.watches.append(_AlarmWatch(arm, options, found[0], judge, probe))


def alarms_set(
    alarms: Mapping[str, Alarm], facts: Mapping[str, Facts | str], acting: Container[str], steps: int, level: float
) -> AlarmsSet:
    """The row of alarms with what each learned of the base policy, or why it cannot watch.

    Raises InputError where one that is to stop the run cannot.
    """
    for name, why in facts.items():
        if isinstance(why, str) and name in acting:
            raise InputError(f"--stop-at {name} cannot watch this run: {why}.")
    return AlarmsSet(
        level=level,
        steps=steps,
        alarm=list(alarms),
        tolerance=[alarm.tolerance for alarm in alarms.values()],
        acts=[name in acting for name in alarms],
        facts=[{} if isinstance(of, str) else dict(of) for of in (facts[name] for name in alarms)],
        why_not=[of if isinstance(of, str) else "" for of in (facts[name] for name in alarms)],
        unit=[alarm.unit for alarm in alarms.values()],
        tells=[alarm.tells for alarm in alarms.values()],
        cannot=[alarm.cannot for alarm in alarms.values()],
    )


def read_alarms_at(
    step: int,
    observed: Mapping[str, Observation],
    alarms: Mapping[str, Alarm],
    made: AlarmsSet,
    before: Sequence[AlarmStep],
) -> AlarmStep:
    """What the alarms say after a step, of which they keep ``observed``, and the steps ``before``."""
    facts = dict(zip(made.alarm, made.facts, strict=True))
    told = []
    for name, alarm in alarms.items():
        history = [*(row.observed[row.alarm.index(name)] for row in before), observed[name]]
        told.append(alarm.read(facts[name], history, made.steps, made.level))
    return AlarmStep(
        step=step,
        alarm=list(alarms),
        observed=[[float(x) for x in observed[name]] for name in alarms],
        value=[r.value if r else None for r in told],
        low=[r.low if r else None for r in told],
        high=[r.high if r else None for r in told],
        sight=[r.sight if r else "" for r in told],
        rings=[r is not None and r.rings for r in told],
    )


def _agreements(
    work: Workspace,
    judge: PairJudge | None,
    purpose: str,
    episodes: Sequence[Episode],
    scores: Scores,
    count: int,
    seed: Sequence[int],
) -> list[float]:
    """1 or 0 for each of up to ``count`` pairs whose label decides: whether the reward favours the same reply. Recorded.

    Raises InputError where labels are not there at once.
    """
    if judge is None:
        return []
    known, totals = has_opinion(scores), scores.total()
    value = {e.id: float(totals[i]) for i, e in enumerate(episodes) if known[i]}
    pairs = one_pair_each([e for e in episodes if e.id in value], count, [*seed, 17])
    told = judge.ask(purpose, pairs) if pairs else None
    if told is None:
        return []
    if isinstance(told, Waiting):
        raise InputError(
            f"{told.who}: people who answer later can label for --rounds 2 or more; the alarms need a judge that answers at once."
        )
    work.write([*told.annotators, *told.judgments])
    labels = [preference(told.judgments, pair) for pair in pairs]
    return [
        float((value[a.id] - value[b.id]) * label > 0) for (a, b), label in zip(pairs, labels, strict=True) if label
    ]


def _rows(scores: Scores | None, start: int, end: int) -> Scores | None:
    if scores is None:
        return None
    return Scores(scores.value[start:end], None if scores.std is None else scores.std[start:end])
