"""Alarms during an optimisation: how often each rings without a cause, and how soon it finds a change (``-s`` prints both)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from custodes.policy.alarm import BasePolicy, MeanAlarm, WatchedStep
from custodes.policy.alarms.accuracy import Accuracy
from custodes.policy.alarms.disagreement import Disagreement
from custodes.policy.alarms.kl import Kl
from custodes.policy.alarms.length import Length
from custodes.policy.alarms.repetition import Repetition
from custodes.stats import clopper_pearson
from custodes.types import Episode, Message, Scores, Task

LEVEL, STEPS, TASKS, N = 0.05, 60, 12, 4
POOLS, STREAMS = 100, 10


def reply(text: str, task: str, k: int = 0) -> Episode:
    of = Task(task, (Message("user", task),))
    return Episode.written(f"{task}-{k}", of, (*of.messages, Message("assistant", text)), "p")


def population(rng: np.random.Generator, tasks: int) -> np.ndarray:
    """(tasks, N) something skewed that differs between tasks and, within them, between replies."""
    return rng.gamma(4.0, 1.0, (tasks, 1)) * rng.lognormal(0.0, 0.6, (tasks, N))


def base_looks(rng: np.random.Generator) -> BasePolicy:
    values, looks = population(rng, 64), []
    for start in range(0, 64, TASKS):
        own = values[start : start + TASKS]
        episodes = [reply("x" * round(10 * v), str(start + i), k) for i, of in enumerate(own) for k, v in enumerate(of)]
        looks.append(WatchedStep(episodes, Scores(own.ravel(), own.ravel())))
    return BasePolicy(looks, TASKS)


def first_ring(alarm: MeanAlarm, facts: dict[str, float], means: np.ndarray) -> float:
    """After how many steps the alarm first rings on a run (T,) of step means; infinite where it never does."""
    seen: list[list[float]] = []
    for step, mean in enumerate(means.tolist(), 1):
        seen.append([mean])
        reading = alarm.read(facts, seen, STEPS, LEVEL)
        if reading is not None and reading.rings:
            return step
    return math.inf


@pytest.mark.parametrize(
    ("alarm", "unit", "edge", "beyond"),
    [
        (Disagreement(), 1.0, lambda x, f: x + 0.5 * f["spread"], lambda x, f: x + f["spread"]),
        (Length(), 10.0, lambda x, f: 1.5 * x, lambda x, f: 2.25 * x),
    ],
)
def test_simulated_limits_keep_their_level_and_find_changes(alarm, unit, edge, beyond):
    """Runs like the base policy, runs that drift to the edge of what is tolerated at once, and runs that go beyond it."""
    rng, still, at_edge, found = np.random.default_rng(0), [], [], []
    for _ in range(POOLS):
        facts = alarm.calibrate(base_looks(rng), STEPS, LEVEL)
        true = {"spread": 3.0 * unit}  # nearly what it is in the population
        for _ in range(STREAMS):
            means = unit * population(rng, STEPS * TASKS).mean(1).reshape(STEPS, TASKS).mean(1)
            still.append(first_ring(alarm, facts, means))
            at_edge.append(first_ring(alarm, facts, edge(means, facts | true)))
        later = np.where(np.arange(STEPS) < 20, means, beyond(means, facts))
        found.append(first_ring(alarm, facts, later))
    silent, tolerated = (clopper_pearson(int(np.isfinite(r).sum()), len(r)) for r in (still, at_edge))
    late = np.array([r - 20 for r in found])
    print(
        f"\n{type(alarm).__name__}: rings on {silent} runs like the base policy, {tolerated} at the edge of its tolerance"
    )
    print(
        f"  a change beyond it at step 21 is found {np.median(late):g} steps later, the median; {np.isinf(late).mean():.0%} are not"
    )
    assert silent.estimate <= 0.01
    assert tolerated.low <= 0.08  # limits from 64 tasks are themselves uncertain
    assert np.median(late) <= 10


def zipf_step(rng: np.random.Generator, tasks: int) -> list[Episode]:
    """Replies of 10 to 60 words that are as unequally common as words are, so that phrases come again by chance."""
    words = np.arange(60)
    common = 1 / (words + 3.0)
    common /= common.sum()
    return [
        reply(" ".join(f"w{w}" for w in rng.choice(words, int(rng.integers(10, 60)), p=common)), str(task), k)
        for task in range(tasks)
        for k in range(N)
    ]


def test_repetition_keeps_its_level_on_words_as_common_as_they_are():
    """Steps of real texts, measured as the alarm does; runs are drawn from them, and so are the replies that set the limits."""
    rng, alarm = np.random.default_rng(6), Repetition()
    steps = np.array([np.nanmean(alarm.measure(WatchedStep(zipf_step(rng, TASKS)))) for _ in range(150)])
    still, at_edge, late = [], [], []
    for _ in range(30):
        looks = []
        for start in range(0, 60, TASKS):
            own = zipf_step(rng, TASKS)
            looks.append(WatchedStep([reply(e.completion, str(start + int(e.task.id)), n) for n, e in enumerate(own)]))
        facts = alarm.calibrate(BasePolicy(looks, TASKS), STEPS, LEVEL)
        for _ in range(30):
            means = rng.choice(steps, STEPS)
            still.append(first_ring(alarm, facts, means))
            at_edge.append(first_ring(alarm, facts, means + alarm.tolerance))
        late.append(first_ring(alarm, facts, np.where(np.arange(STEPS) < 20, means, means + 3 * alarm.tolerance)) - 20)
    silent, tolerated = (clopper_pearson(int(np.isfinite(r).sum()), len(r)) for r in (still, at_edge))
    print(
        f"\nrepetition, {steps.mean():.2f} of the base policy: rings on {silent} runs like it, {tolerated} at the edge"
    )
    print(f"  three tolerances more at step 21 are found {np.median(late):g} steps later, the median")
    assert 0.01 < steps.mean() < 0.5  # there is something to measure
    assert silent.estimate <= 0.01
    assert tolerated.low <= 0.08
    assert 0 < np.median(late) <= 10


def test_limits_without_any_tolerance_keep_their_level():
    """On both sides, for runs like the base policy, over many samples that set the limits."""
    rng, beyond = np.random.default_rng(1), []
    for _ in range(150):
        facts = Disagreement(0.0).calibrate(base_looks(rng), STEPS, LEVEL)
        for _ in range(8):
            runs = population(rng, STEPS * TASKS).mean(1).reshape(STEPS, TASKS).mean(1)
            windowed = np.array([runs[max(0, t - 3) : t + 1].mean() for t in range(STEPS)]) - facts["mean"]
            beyond.append((windowed.max() > facts["above"], -windowed.min() > facts["below"]))
    high, low = (clopper_pearson(int(side.sum()), len(beyond)) for side in np.array(beyond).T)
    print(f"\nstationary runs beyond the limit of 5 %: above {high}, below {low}")
    assert high.low <= 0.08
    assert low.low <= 0.08
    assert high.high >= 0.02  # and the limit is no wider than it says


def test_accuracy_alarm_with_an_accuracy_that_is_estimated_too():
    """The base policy's 200 labels are drawn as the run's are; the tolerance is what covers their error."""
    rng, alarm, rang, late = np.random.default_rng(2), Accuracy(), [], []
    for _ in range(300):
        labels = (rng.random(200) < 0.72).astype(float).tolist()
        facts = alarm.calibrate(BasePolicy([WatchedStep(agreed=labels)], TASKS), STEPS, LEVEL)
        whole = (rng.random((STEPS, 8)) < 0.72).astype(float).tolist()
        last = alarm.read(facts, whole, STEPS, LEVEL)
        rang.append(last is not None and last.rings)
    for _ in range(60):
        fallen = (rng.random((STEPS, 8)) < 0.42).astype(float).tolist()
        rings = [step for step in range(1, 30) if alarm.read(facts, fallen[:step], STEPS, LEVEL).rings]
        late.append(rings[0] if rings else math.inf)
    false = clopper_pearson(sum(rang), len(rang))
    print(
        f"\naccuracy, from 200 labels: false alarms {false}; a fall of .30 is found after {np.median(late):g} steps of 8 labels"
    )
    assert false.low <= LEVEL
    assert np.median(late) <= 10


def test_kl_alarm_is_silent_at_the_budget_and_rings_beyond_it():
    rng, alarm, rang, late = np.random.default_rng(3), Kl(10.0), [], []
    facts = alarm.calibrate(BasePolicy([], TASKS), STEPS, LEVEL)
    for _ in range(400):
        kl = rng.gamma(8.0, 10 / 8, (STEPS, 48)).mean(1)  # at the budget, skewed as sums of log-ratios are
        rang.append(first_ring(alarm, facts, kl) < math.inf)
    for _ in range(100):
        rises = np.linspace(0, 30, STEPS) + rng.normal(0, 1, STEPS)
        late.append(first_ring(alarm, facts, rises) - 20)  # it crosses the budget at step 21
    false = clopper_pearson(sum(rang), len(rang))
    print(
        f"\nKL at the budget: false alarms {false}; a rise through it is found {np.median(late):g} steps later, the median"
    )
    assert false.low <= LEVEL
    assert 0 < np.median(late) <= 15
    assert min(late) > -3


def test_limits_from_means_of_steps_keep_their_level():
    """As in the logs of other trainers, where no replies are known."""
    rng, alarm, rang = np.random.default_rng(4), Length(1.0), []
    for _ in range(600):
        steps = rng.normal(40, 3, 10 + STEPS)
        facts = alarm.calibrate_by_means(steps[:10].tolist(), STEPS, LEVEL)
        rang.append(first_ring(alarm, facts, steps[10:]) < math.inf)
    false = clopper_pearson(sum(rang), len(rang))
    print(f"\nlimits from 10 steps: false alarms {false}")
    assert false.low <= LEVEL
    assert false.high >= 0.02


def test_repetition_counts_runs_that_were_there_before():
    own = reply("a b c a b c", "one")  # abc, bca, cab, abc: one of four is repeated
    other = reply("x y z a b c", "two")  # xyz, yza, zab, abc: the last stands in the other task's reply too
    assert Repetition().measure(WatchedStep([own])).tolist() == [0.25]
    assert Repetition().measure(WatchedStep([own, other])).tolist() == [0.5, 0.25]
    assert Repetition().measure(WatchedStep([own, reply("a b c a b c", "one", 1)])).tolist() == [
        0.25,
        0.25,
    ]  # replies to one task may be alike
    assert math.isnan(Repetition().measure(WatchedStep([reply("too short", "one")]))[0])


def test_an_alarm_that_cannot_watch_says_why():
    replies = [reply(f"some words of reply {i}", str(i)) for i in range(4)]
    base = BasePolicy([WatchedStep(replies, Scores(np.zeros(4)))], 4)
    assert "no members" in str(Disagreement().calibrate(base, STEPS, LEVEL))
    assert "4 tasks" in str(Length().calibrate(base, STEPS, LEVEL))
    assert "nobody labels" in str(Accuracy().calibrate(base, STEPS, LEVEL))
    assert "no text" in str(Repetition().calibrate(BasePolicy([WatchedStep()], 4), STEPS, LEVEL))
    assert Kl().read({}, [[1.0]] * 4, STEPS, LEVEL) is None


def test_a_run_that_is_too_short_for_the_alarm_kl_is_told_so() -> None:
    assert Kl().calibrate(BasePolicy([], 4), 6, LEVEL) == {}
    assert Kl().calibrate(BasePolicy([], 4), 1, LEVEL) == "it judges from step 6 on, and the run has 1 step"
