"""When a reward is judged afresh between rounds of a policy, by whom, and how much: the options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from custodes.job.options import Use
from custodes.ranges import Count, Positive, at_least, ranged
from custodes.types import InputError

PairChoice = Literal["bald", "disagreement", "random"]
BOUNDS = {"accuracy": 0.05, "disagreement": 1.5, "kl": 3.0}
"""Each trigger and its usual bound."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What ends a round: ``signal`` beyond ``bound``."""

    signal: str
    bound: float
    """accuracy: how far below the held-out one. disagreement: times that of the round's first step. kl: nats."""

    @classmethod
    def read(cls, text: str) -> Self:
        """``accuracy``, ``disagreement``, ``kl``, each with ``:BOUND`` as one likes. Raises InputError."""
        signal, colon, given = text.partition(":")
        try:
            bound = float(given) if colon else BOUNDS[signal]
        except (KeyError, ValueError):
            bound = 0.0
        largest = 0.5 if signal == "accuracy" else float("inf")
        if signal not in BOUNDS or not 0 < bound < largest:
            raise InputError(
                f"--relabel {text} is no trigger; give accuracy, disagreement or kl, with a bound above 0 as one likes: "
                "accuracy:0.05, disagreement:1.5, kl:3."
            )
        return cls(signal, bound)


@dataclass(frozen=True, kw_only=True)
@ranged
class RoundOptions:
    """Rounds: the policy learns until the reward is no longer to be believed, then its replies are judged and teach the reward."""

    rounds: Count = 1
    """Rounds of optimisation, at most. From 2 on an alarm ends a round, and the reward is taught again before the next one."""
    judge: str = ""
    """Who judges the policy's replies, between rounds and for the alarm accuracy: simulated (by --gold), FILE.yaml (a rubric,
    for --judge-model), endpoint:URL#MODEL (with --rubric), project:NAME (people, on the annotation server of --db, for rounds alone), or one
    of your own, FILE.py:Name."""
    judge_model: str = "smollm2-135m"
    """The model that judges by a rubric: embedded, a folder, a .gguf file, a hub id or endpoint:URL#MODEL."""
    relabel: str = "accuracy"
    """What ends a round. accuracy: the reward's accuracy on the policy's own pairs, more than 0.05 below the held-out one.
    disagreement: 1.5 times that of the round's first step. kl:3: so many nats beyond where labels are."""
    labels: Count = 600
    """Pairs of the policy's replies that are judged after a round."""
    choose: PairChoice = "bald"
    """Which pairs are judged: those whose answers tell most (bald), those on which the reward's members disagree, or any."""
    probe_labels: Count = 8
    """Pairs of a step's replies that are judged, to see whether the reward is still right."""
    probe_every: Count = 1
    """Steps between two probes."""
    alarm_level: Annotated[float, at_least(0.001)] = 0.05
    """Probability, for each alarm, that it ever rings without a cause in a run or a round, however often it looks."""
    restart: Literal["base", "last"] = "base"
    """Where the policy begins again after the reward was taught: at the model as it came, or where the last round ended."""
    final_labels: Count = 200
    """Pairs of the final policy's held-out replies that are judged, to see how good every reward is there."""
    relearn: bool = False
    """Train a second policy on the final reward, from the model as it came, and see whether it gets as far."""
    db: Annotated[str, Use.APART] = ""
    """Database: a file (custodes.db), or postgresql://user:password@host/database for several servers."""
    wait_hours: Annotated[Positive, Use.MEANS] = 336.0
    """Hours that the run waits for people in one go. It then ends, and the same command goes on waiting."""

    def __post_init__(self) -> None:
        Trigger.read(self.relabel)
        check_alarm_level(self.alarm_level)

    def check_judge(self) -> None:
        """Raises InputError where rounds have nobody who judges, and where there are none to relearn from."""
        if self.rounds > 1 and not self.judge:
            raise InputError(
                f"--rounds {self.rounds} needs somebody who judges; give --judge simulated, a rubric, endpoint:URL#MODEL or project:NAME."
            )
        if self.rounds == 1 and self.judge.startswith("project:"):
            raise InputError(
                "people answer later, which only rounds wait for; give --rounds 2 or more, or another --judge."
            )
        if self.rounds == 1 and self.relearn:
            raise InputError("--relearn belongs to rounds, and there is one; give --rounds 2 or more.")

    @property
    def trigger(self) -> Trigger:
        return Trigger.read(self.relabel)

    @property
    def rubric_file(self) -> Path | None:
        """The rubric that ``judge`` names, where it names one."""
        return Path(self.judge) if self.judge.endswith((".yaml", ".yml")) else None


def check_alarm_level(level: float) -> None:
    """Raises InputError for a probability of a false alarm that is none."""
    if level >= 1:
        raise InputError(f"--alarm-level {level:g} must be below 1; 0.05 is usual.")
