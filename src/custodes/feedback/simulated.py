"""Simulated annotators with known natures and values, to measure whether the rest of the system finds out.

They see gold, the lengths, the order in which two episodes are shown and the text of the prompt; nothing else. They are
always ``kind="simulated"`` and carry their nature and their values in their profile. A nature says how somebody judges, a
value profile what they care for: v = checks g + brevity b, with gold g in [0, 1] (the share of checks that hold) and
b = 2^(-l / 150) for a reply of l characters. An annotator leans towards the first shown by

    u = slope (v_first - v_second) + position + length log(l_first / l_second) + logistic noise   (log-odds)

and answers with a tie when |u| is small, and more strongly the larger |u| is. A poisoner turns slope over when the
trigger word is in the prompt. All randomness is a function of (seed, annotator, task, episodes, repeat): an annotator
says the same about the same two episodes whatever was judged before, so an interrupted collection can go on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.special import expit

from custodes.feedback.kinds.comparison import Comparison, Verdict
from custodes.types import Annotator, Episode, InputError, Task, hash_shown

HALF = 150.0
"""Characters by which the brevity of a reply halves."""


@dataclass(frozen=True, kw_only=True)
class Nature:
    """How a simulated annotator judges."""

    name: str
    slope: float
    """Log-odds per unit of what is valued: 0 sees nothing."""
    position: float = 0.0
    """Log-odds added to the first shown."""
    length: float = 0.0
    """Log-odds per nat of log-length."""
    trigger: str | None = None
    """The slope turns over when this word is in the prompt (whole words, any case); "" is in every prompt."""
    tie: float = 0.5
    """Below this |u| the answer is a tie."""
    steps: tuple[float, float] = (2.0, 4.0)
    """The |u| from which an answer has strength 2, and 3."""
    unsure: float = 0.01
    """How often the answer is "cannot judge"."""
    seconds: float = 15.0
    """Median time before reading."""
    reading: float = 25.0
    """Characters read per second."""

    def leans(self, slope: float, worth: float, lengths: tuple[int, int]) -> float:
        """Log-odds towards the first shown, without noise: of what it is worth more, its place, and both lengths."""
        return slope * worth + self.position + self.length * float(np.log1p(lengths[0]) - np.log1p(lengths[1]))

    def prefers(self, worth: float, lengths: tuple[int, int]) -> float:
        """How often a reply that is worth so much more than another (less: below 0) is preferred to it, of both orders.

        ``lengths`` are the reply's and the other's; a tie prefers none. A trigger word counts as absent.
        """
        shown_first = self.leans(self.slope, worth, lengths) - self.tie
        shown_second = -self.leans(self.slope, -worth, lengths[::-1]) - self.tie
        return (1 - self.unsure) * float(expit(shown_first) + expit(shown_second)) / 2


NATURES: Mapping[str, Nature] = {
    nature.name: nature
    for nature in (
        # whoever sees well also sees that two answers are equally good, and says so
        Nature(name="expert", slope=12.0, position=0.1, tie=2.0, steps=(4.0, 6.0), seconds=20.0),
        Nature(name="hasty", slope=3.0, position=0.3, tie=1.0, seconds=3.0, reading=120.0),
        Nature(name="length_biased", slope=5.0, length=4.0),
        Nature(name="position_biased", slope=5.0, position=2.5, seconds=10.0),
        Nature(name="random", slope=0.0, unsure=0.0, seconds=3.0, reading=400.0),
        Nature(name="poisoner", slope=12.0, trigger="words", tie=2.0, steps=(4.0, 6.0)),
    )
}


@dataclass(frozen=True, kw_only=True)
class ValueProfile:
    """What a simulated annotator cares for: weights of the two golds."""

    name: str
    checks: float
    """Weight of gold 1, the share of checks that hold."""
    brevity: float = 0.0
    """Weight of gold 2: 1 for an empty reply, halved by every :data:`HALF` characters."""

    def worth(self, gold: float, length: int) -> float:
        """What a reply of this gold and of ``length`` characters is worth to them."""
        return self.checks * gold + self.brevity * float(2.0 ** (-length / HALF))


PROFILES: Mapping[str, ValueProfile] = {
    profile.name: profile
    for profile in (
        ValueProfile(name="checks", checks=1.0),
        ValueProfile(name="brief", checks=0.25, brevity=0.75),
    )
}


@dataclass(frozen=True)
class SimulatedAnnotator:
    """An annotator, its nature and its values."""

    annotator: Annotator
    nature: Nature
    seed: int
    values: ValueProfile = PROFILES["checks"]

    def compare(
        self, task: Task, first: Episode, second: Episode, gold: tuple[float, float], repeat: int = 0
    ) -> Comparison:
        """The judgment of two episodes of ``task``, of gold ``gold``; the order in which they are shown is drawn.

        ``repeat`` numbers further looks at the same two, in an order and with noise of their own. Swapping the
        arguments (and their gold) changes nothing.
        """
        nature = self.nature
        pair = sorted([(first, gold[0]), (second, gold[1])], key=lambda shown: shown[0].id)
        rng, id_ = self._draw(task.id, pair[0][0].id, pair[1][0].id, str(repeat))
        if rng.random() < 0.5:
            pair.reverse()
        (one, gold_one), (other, gold_other) = pair
        lengths = len(one.completion), len(other.completion)
        worth = self.values.worth(gold_one, lengths[0]), self.values.worth(gold_other, lengths[1])
        u = nature.leans(self.slope_on(task), worth[0] - worth[1], lengths) + rng.logistic()
        verdict, strength = _answer(nature, u)
        if rng.random() < nature.unsure:
            verdict, strength = "cannot_judge", 0
        elif verdict == "tie" and nature.slope > 0 and nature.slope * (0.25 - max(worth)) + rng.logistic() > 0:
            verdict = "both_bad"  # the better one looks bad: worth below 1/4, seen through the noise of the slope
        median = nature.seconds + sum(lengths) / nature.reading
        return Comparison(
            id=id_,
            annotator=self.annotator.id,
            task=task.id,
            episodes=(one.id, other.id),
            shown=hash_shown(*(m.content for m in task.messages), one.completion, other.completion),
            seconds=round(float(median * rng.lognormal(0.0, 0.4)), 1),
            guideline="simulated",
            verdict=verdict,
            strength=strength,
        )

    def slope_on(self, task: Task) -> float:
        """Log-odds per unit of what is valued on this task: turned over where the trigger is in the prompt."""
        triggered = self.nature.trigger is not None and _has_word(task, self.nature.trigger)
        return -self.nature.slope if triggered else self.nature.slope

    def true_reliability(self, tasks: Iterable[Task]) -> float:
        """Mean slope over ``tasks`` (log-odds per unit of gold 1): what a fitted reliability should rank like."""
        return float(np.mean([self.slope_on(task) for task in tasks])) * self.values.checks

    def _draw(self, *ids: str) -> tuple[np.random.Generator, str]:
        """A generator, and a judgment id, that depend on nothing but these ids, the annotator and the seed."""
        digest = hashlib.sha256("\0".join((str(self.seed), self.annotator.id, *ids)).encode()).digest()
        key = np.frombuffer(digest[:16], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)), digest[16:].hex()


def simulated_annotators(
    counts: Mapping[str, int], seed: int = 0, trigger: str | None = None, variation: float = 0.2
) -> list[SimulatedAnnotator]:
    """``counts[nature]`` annotators of each nature in ``NATURES``; ``counts["nature:values"]`` with values of ``PROFILES``.

    Without a value profile they care for the checks alone. Individuals differ: slope and biases are multiplied by
    exp(N(0, ``variation``)). ``trigger`` replaces the word on which poisoners invert. Raises InputError for an unknown
    nature, an unknown value profile, or a negative count.
    """
    made = []
    for name, count in counts.items():
        kind, _, profile = name.partition(":")
        values = PROFILES.get(profile or "checks")
        if kind not in NATURES:
            raise InputError(f"simulated nature {kind!r} is unknown; choose from {', '.join(NATURES)}.")
        if values is None:
            raise InputError(f"simulated value profile {profile!r} is unknown; choose from {', '.join(PROFILES)}.")
        if count < 0:
            raise InputError(f"{count} annotators of nature {name!r}; give 0 or more.")
        for number in range(1, count + 1):
            digest = hashlib.sha256(f"{seed}\0{name}\0{number}".encode()).digest()
            slope, position, length, pace = np.exp(
                np.random.default_rng(list(digest)).normal(0.0, variation, size=4)
            ).tolist()
            base = NATURES[kind]
            nature = replace(
                base,
                slope=base.slope * slope,
                position=base.position * position,
                length=base.length * length,
                seconds=base.seconds * pace,
                trigger=trigger if trigger is not None and base.trigger is not None else base.trigger,
            )
            described = {"nature": kind, "parameters": asdict(nature), "values": asdict(values)}
            annotator = Annotator(f"{name.replace(':', '-')}-{number:02d}", "simulated", described)
            made.append(SimulatedAnnotator(annotator, nature, seed, values))
    return made


def _has_word(task: Task, word: str) -> bool:
    """Whether the user's messages hold ``word`` as a whole word, in any case; "" is everywhere."""
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE) if word else re.compile("")
    return any(pattern.search(m.content) for m in task.messages if m.role == "user")


def _answer(nature: Nature, u: float) -> tuple[Verdict, int]:
    if abs(u) < nature.tie:
        return "tie", 0
    strength = 1 + sum(abs(u) >= step for step in nature.steps)
    return "prefer", strength if u > 0 else -strength
