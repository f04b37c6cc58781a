"""What each kind of judgment tells of the answers' qualities in the same minutes, and whether the joint fit's intervals hold.

    python benchmarks/feedback_kinds.py --json

Simulated: tasks with four answers of quality N(0, 1), annotators who differ in reliability, in where they put their
thresholds and in how they lean to what is shown first. A judgment takes the seconds of its kind (--seconds), and each kind of
an arm the same minutes: comparisons alone, the same comparisons with ratings added, and so on. Coverage and width are those
of 95 % intervals of differences between two answers of one task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.feedback.joint import fit_judgments
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.stats import mean_interval, paired_difference
from custodes.types import Judgment

Z = 1.959964
ANSWERS = 4
ARMS = ("comparison", "rating", "ranking", "label", "comparison+rating", "comparison+rating+ranking+label")


class Crowd:
    """Annotators who judge answers; all draws come from one seed."""

    def __init__(self, tasks: int, annotators: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.quality = self.rng.normal(size=(tasks, ANSWERS))
        self.slope = 1.6 * self.rng.lognormal(0, 0.4, annotators)
        self.position = self.rng.normal(0, 0.4, annotators)
        self.leniency = self.rng.normal(0, 1.0, annotators)
        self.threshold = self.rng.normal(0, 0.7, annotators)
        self.judged = 0

    def judge(self, kind: str, seconds: float) -> Judgment:
        """A judgment by somebody of something."""
        rng, self.judged = self.rng, self.judged + 1
        task, who = int(rng.integers(len(self.quality))), int(rng.integers(len(self.slope)))
        q, names = self.quality[task], [f"{task}-{n}" for n in range(ANSWERS)]
        about = {"id": str(self.judged), "annotator": f"a{who}", "task": str(task), "seconds": seconds}
        if kind == "comparison":
            i, j = rng.choice(ANSWERS, 2, replace=False).tolist()
            u = self.slope[who] * (q[i] - q[j]) + self.position[who] + rng.logistic()
            strength = int(np.sign(u)) * (0 if abs(u) < 0.5 else 1 if abs(u) < 2 else 2)
            verdict = "prefer" if strength else "tie"
            return Comparison(**about, episodes=(names[i], names[j]), strength=strength, verdict=verdict)
        if kind == "ranking":
            u = self.slope[who] * q + rng.gumbel(size=ANSWERS)
            ranks = tuple(int(rank) for rank in 1 + np.argsort(np.argsort(-u)))
            return Ranking(**about, episodes=tuple(names), ranks=ranks)
        n = int(rng.integers(ANSWERS))
        u = self.slope[who] * q[n] + rng.logistic()
        if kind == "rating":
            edges = np.linspace(-4, 4, 6) - self.leniency[who]
            return Rating(**about, episodes=(names[n],), value=1 + int((u > edges).sum()))
        value = "yes" if u > self.threshold[who] else "no"
        return Label(**about, episodes=(names[n],), name="acceptable", value=value)

    def work(self, kinds: Sequence[str], minutes: float, seconds: dict[str, float]) -> list[Judgment]:
        """Judgments of these kinds, each for ``minutes``."""
        return [self.judge(kind, seconds[kind]) for kind in kinds for _ in range(round(60 * minutes / seconds[kind]))]


def intervals(
    judgments: Sequence[Judgment], quality: NDArray[np.float64]
) -> tuple[list[float], list[float], dict[str, float]]:
    """Whether each interval of a difference holds it, its width, and nats a minute by kind."""
    fitted = fit_judgments(judgments)
    place = {name: n for n, name in enumerate(fitted.episodes)}
    covered, width = [], []
    for task, own in enumerate(quality):
        for i in range(ANSWERS):
            for j in range(i):
                known = [place.get(f"{task}-{n}") for n in (i, j)]
                a, b = known
                if a is None or b is None:
                    se, difference = np.sqrt(2.0), 0.0
                else:
                    se, difference = fitted.difference_se(a, b), fitted.quality[a] - fitted.quality[b]
                covered.append(float(abs(difference - (own[i] - own[j])) < Z * se))
                width.append(2 * Z * se)
    return covered, width, fitted.nats_a_minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--annotators", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--crowds", type=int, default=10)
    parser.add_argument(
        "--seconds", default="comparison=25,rating=15,ranking=60,label=8", help="of one judgment, by kind"
    )
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    seconds = {kind: float(value) for kind, _, value in (word.partition("=") for word in chosen.seconds.split(","))}
    covered: dict[str, list[float]] = {arm: [] for arm in ARMS}
    width: dict[str, list[float]] = {arm: [] for arm in ARMS}
    nats: dict[str, list[float]] = {kind: [] for kind in seconds}
    clusters: list[int] = []
    for seed in range(chosen.crowds):
        for arm in ARMS:
            crowd = Crowd(chosen.tasks, chosen.annotators, seed)  # the same answers and people in every arm
            kinds = arm.split("+")
            own_covered, own_width, own_nats = intervals(crowd.work(kinds, chosen.minutes, seconds), crowd.quality)
            covered[arm] += own_covered
            width[arm] += own_width
            if len(kinds) == 1:
                nats[arm].append(own_nats[arm])
        clusters += [seed] * len(own_covered)
    added = paired_difference(width["comparison+rating"], width["comparison"], clusters)
    result = {
        "coverage": {arm: mean_interval(covered[arm], clusters).to_dict() for arm in ARMS},
        "mean_width": {arm: mean_interval(width[arm], clusters).to_dict() for arm in ARMS},
        "comparison_and_rating_minus_comparison_width": added.to_dict(),
        "nats_a_minute": {kind: mean_interval(values).to_dict() for kind, values in nats.items()},
    }
    if chosen.json:
        print(json.dumps(result, indent=2))
        return
    for arm in ARMS:
        print(
            f"{arm:<35} coverage {mean_interval(covered[arm], clusters)}, mean width {mean_interval(width[arm], clusters)}"
        )
    print(f"comparisons with ratings added minus comparisons alone: width {added}")
    for kind, values in nats.items():
        print(f"{kind:<12} {mean_interval(values)} nats a minute")


if __name__ == "__main__":
    main()
