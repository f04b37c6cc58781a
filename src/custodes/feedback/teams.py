"""Person, critic and both together: when a team beats either (arXiv 2407.00215, section 3.3).

A simulated person who reviews alone sees the bug with probability ``sees`` and writes ``own_false`` wrong comments. With
a critique in front of them, they keep a right comment with probability ``keeps`` and remove a wrong one with
``removes``. Whoever is helped looks less: of what they would have seen alone they still see the share ``attention``.
For one bug and independent chances the expectation is simple:

    team catches the bug   1 - (1 - attention * sees) (1 - keeps * caught)
    team's wrong comments  (1 - removes) * false + attention * own_false

The design of the experiment with real people is the same three arms on the same problems, each person meeting a problem
in one arm only.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from custodes.ranges import Share, ranged
from custodes.stats import Interval, PairedTest, mean_interval, paired_difference, paired_test, rate
from custodes.types import Floats, InputError

ARMS = ("person", "critic", "team")


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Person:
    """A simulated person. Probabilities, except ``own_false``."""

    sees: Share = 0.25
    """The bug, alone; people caught about a quarter of inserted bugs in the paper."""
    keeps: Share = 0.9
    """A right comment of the critic."""
    removes: Share = 0.5
    """A wrong comment of the critic."""
    own_false: float = 0.1
    """Wrong comments of their own in a review, on average."""
    attention: Share = 1.0
    """Share of what they would have seen or written alone that they still do with help."""


@dataclass(frozen=True, slots=True)
class TeamReview:
    """What one arm did on one problem."""

    problem: Hashable
    arm: str
    caught: bool
    false: int


@dataclass(frozen=True, slots=True)
class TeamResult:
    """Rates of the three arms, and the team against each, paired by problem."""

    caught: dict[str, Interval]
    false: dict[str, Interval]
    more_caught: dict[str, Interval]
    """Team minus person, and team minus critic."""
    fewer_false: dict[str, Interval]
    """Person minus team, and critic minus team."""
    tests: dict[str, PairedTest]
    """Of what :attr:`beats_both` needs: "more than person", "more than critic", "fewer false than critic"."""

    @property
    def beats_both(self) -> bool:
        """Whether the team catches more than either, and is wrong less often than the critic, both beyond chance."""
        needed = [*self.more_caught.values(), self.fewer_false["critic"]]
        return all(i.low > 0 for i in needed) and all(test.p < 0.05 for test in self.tests.values())

    @property
    def note(self) -> str | None:
        """What to say of too few problems, in one sentence."""
        return next((test.note for test in self.tests.values()), None)


def _expected(person: Person, caught: ArrayLike, false: ArrayLike) -> dict[str, tuple[Floats, Floats]]:
    """Arm -> (chance that the bug is caught, mean wrong comments), each (N,), where the critic alone has ``caught`` (N,)
    and ``false`` (N,)."""
    c, f = np.asarray(caught, np.float64), np.asarray(false, np.float64)
    team = 1 - (1 - person.attention * person.sees) * (1 - person.keeps * c)
    wrong = (1 - person.removes) * f + person.attention * person.own_false
    return {
        "person": (np.full_like(c, person.sees), np.full_like(f, person.own_false)),
        "critic": (c, f),
        "team": (team, wrong),
    }


def simulate_reviews(
    person: Person, problems: Sequence[Hashable], caught: Sequence[bool], false: Sequence[int], seed: int = 0
) -> list[TeamReview]:
    """Reviews of every problem in the three arms, given what the critic alone did on each.

    The person's luck is drawn once for a problem: what they see with help is part of what they see alone.
    """
    if not len(problems) == len(caught) == len(false):
        raise InputError(
            f"{len(problems)} problems, {len(caught)} and {len(false)} results of the critic; give one each."
        )
    rng = np.random.default_rng(seed)
    reviews = []
    for problem, right, wrong in zip(problems, caught, false, strict=True):
        sees = rng.random() < person.sees
        looks = rng.random() < person.attention
        own = int(rng.poisson(person.own_false))
        kept = right and rng.random() < person.keeps
        left = int(rng.binomial(wrong, 1 - person.removes))
        reviews += [
            TeamReview(problem, "person", bool(sees), own),
            TeamReview(problem, "critic", bool(right), int(wrong)),
            TeamReview(
                problem, "team", bool(kept or (sees and looks)), left + int(rng.binomial(own, person.attention))
            ),
        ]
    return reviews


def analyse(reviews: Sequence[TeamReview]) -> TeamResult:
    """Compare the arms on the problems that all three reviewed, simulated people or real ones.

    Several reviews of a problem in one arm are averaged first: problems are what the intervals count. Raises
    InputError where fewer than two problems were reviewed in every arm.
    """
    cells: dict[str, dict[Hashable, list[TeamReview]]] = {arm: {} for arm in ARMS}
    for review in reviews:
        if review.arm not in cells:
            raise InputError(f"a review's arm is {review.arm!r}; it must be one of {', '.join(ARMS)}.")
        cells[review.arm].setdefault(review.problem, []).append(review)
    shared = [p for p in cells["team"] if p in cells["person"] and p in cells["critic"]]
    if len(shared) < 2:
        raise InputError(f"{len(shared)} problems were reviewed in all three arms; at least 2 are needed.")
    caught = {arm: np.array([np.mean([r.caught for r in cells[arm][p]]) for p in shared]) for arm in ARMS}
    false = {arm: np.array([np.mean([r.false for r in cells[arm][p]]) for p in shared]) for arm in ARMS}
    return TeamResult(
        caught={arm: rate(values) for arm, values in caught.items()},
        false={arm: mean_interval(values) for arm, values in false.items()},
        more_caught={arm: paired_difference(caught["team"], caught[arm]) for arm in ("person", "critic")},
        fewer_false={arm: paired_difference(false[arm], false["team"]) for arm in ("person", "critic")},
        tests={
            "more than person": paired_test(caught["team"], caught["person"]),
            "more than critic": paired_test(caught["team"], caught["critic"]),
            "fewer false than critic": paired_test(false["critic"], false["team"]),
        },
    )
