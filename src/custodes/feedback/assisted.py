"""Simulated judges who see bugs at a stated rate, and more of them with a critic's findings beside the answer.

A bug is a check of the task that does not hold. Alone a judge sees each with probability ``catch``. The critic's findings are the
same for everybody who judges an answer with help. They name a bug with the probability that brings judges to ``helped`` in all,
and a check that does hold with probability ``misled``: whoever reads such a false finding believes it. Whoever is helped reads the
findings, which takes ``reading`` seconds a comparison. So the same minutes are worth fewer comparisons with help.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from custodes.environments import check_results
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.oversight import chance_of, read_rates
from custodes.feedback.simulated import SimulatedAnnotator
from custodes.types import Episode, InputError, Judgment, Task

CRITIC = "simulated critic"
"""What a judgment says of the help that its judge had."""
HELPED = "-helped"
"""How the id of a judge ends who is helped: the same nature, asked apart."""


@dataclass(frozen=True, kw_only=True)
class SimulatedCritic:
    """What judges see alone and with help. Probabilities for each check of an answer, and seconds."""

    catch: float = 0.3
    helped: float = 0.6
    misled: float = 0.1
    reading: float = 10.0

    @classmethod
    def read(cls, spec: str) -> SimulatedCritic:
        """``simulated:catch=.3,helped=.6,misled=.1,reading=10``. Raises InputError for anything else."""
        name, _, rates = spec.partition(":")
        if name != "simulated":
            raise InputError(f"--assist {spec} is no critic; write simulated:catch=.3,helped=.6,misled=.1,reading=10.")
        usual = {"catch": (0.3, 1.0), "helped": (0.6, 1.0), "misled": (0.1, 1.0), "reading": (10.0, float("inf"))}
        critic = cls(**read_rates(rates, usual, f"--assist {spec}"))
        if critic.helped < critic.catch:
            raise InputError(f"--assist {spec}: helped is below catch; false findings are what misled is for.")
        return critic

    @property
    def finds(self) -> float:
        """Probability that the critic's findings name a bug."""
        return 0.0 if self.catch == 1 else (self.helped - self.catch) / (1 - self.catch)

    def seen(self, judge: str, task: Task, text: str, helped: bool, seed: int) -> float:
        """The gold that a judge believes an answer to have: the share of checks that seem to hold.

        What is no answer at all is 0 to everybody.
        """
        results = check_results(task, text)
        if not results.pop("is_answer"):
            return 0.0
        of_answer = f"{seed}\0{task.id}\0{hashlib.sha256(text.encode()).hexdigest()}"
        believed = []
        for check, holds in results.items():
            by_critic = chance_of(f"{of_answer}\0critic\0{check}") if helped else 1.0
            if holds:
                believed.append(by_critic >= self.misled)
            else:
                own = chance_of(f"{of_answer}\0{judge}\0{check}") < self.catch
                believed.append(not own and by_critic >= self.finds)
        return sum(believed) / len(believed)


@dataclass(frozen=True)
class BugJudge(SimulatedAnnotator):
    """A simulated annotator to whom an answer is worth what they see of it, and not its gold."""

    critic: SimulatedCritic = SimulatedCritic()
    helped: bool = False

    def compare(
        self, task: Task, first: Episode, second: Episode, gold: tuple[float, float], repeat: int = 0
    ) -> Comparison:
        sight = [
            self.critic.seen(self.annotator.id, task, e.completion, self.helped, self.seed) for e in (first, second)
        ]
        said = super().compare(task, first, second, (sight[0], sight[1]), repeat)
        if not self.helped:
            return said
        return replace(said, seconds=round((said.seconds or 0.0) + self.critic.reading, 1), assistance=CRITIC)


def bug_judges(annotators: Iterable[SimulatedAnnotator], critic: SimulatedCritic, helped: bool) -> list[BugJudge]:
    """The same people as judges of bugs, alone or with a critic's findings beside the answer."""
    made = []
    for a in annotators:
        who = replace(a.annotator, id=a.annotator.id + HELPED) if helped else a.annotator
        made.append(BugJudge(who, a.nature, a.seed, a.values, critic, helped))
    return made


def minutes(judgments: Iterable[Judgment]) -> float:
    """What judgments took their annotators, in minutes."""
    return sum(judgment.seconds or 0.0 for judgment in judgments) / 60


def within_minutes(judgments: Sequence[Judgment], budget: float, seed: int) -> list[Judgment]:
    """As many judgments as fit so many minutes: whole answers' pairs in an order that ``seed`` draws, in the order as given."""
    pairs: dict[frozenset[str], list[Judgment]] = {}
    for judgment in judgments:
        pairs.setdefault(frozenset(judgment.episodes), []).append(judgment)
    order = list(pairs.values())
    random.Random(seed).shuffle(order)
    kept: set[str] = set()
    left = budget
    for of_pair in order:
        if (left := left - minutes(of_pair)) < 0:
            break
        kept |= {judgment.id for judgment in of_pair}
    return [judgment for judgment in judgments if judgment.id in kept]
