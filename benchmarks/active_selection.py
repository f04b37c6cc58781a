"""What active selection saves: judgments needed for equal reward accuracy, against asking at random.

    python benchmarks/active_selection.py --json

Simulated annotators (20, reliabilities log-normal, two of them random, everybody with a position bias) compare answers
pair by pair, 600 tasks of 4 answers with 24 features each; the true quality is linear in the features but for a tenth
of its variance. After every 60 judgments the annotator model is fitted, a reward's last layer is fitted with the
reliabilities it finds, and the reward's accuracy is measured on 4,000 pairs of new answers. Active selection asks about
the pairs that carry the most information about that layer, random selection about any. "needs" is the share of the random
arm's judgments with which the active arm reaches the accuracy that the random arm has at its end, by seed.
"""

from __future__ import annotations

import argparse

import numpy as np
from result import print_result
from rich.console import Console
from rich.progress import track

from custodes.feedback.annotator_model import fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.selection import RewardBelief
from custodes.stats import mean_interval

TASKS, ANSWERS, FEATURES, ANNOTATORS, BATCH = 600, 4, 24, 20, 60
screen = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgments", type=int, default=900, help="of the random arm (900)")
    parser.add_argument("--seeds", type=int, default=5, help="simulated worlds (5)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    needs, curves = [], []
    for seed in track(range(chosen.seeds), "worlds", console=screen):
        random, active = (accuracies(seed, arm, chosen.judgments) for arm in (False, True))
        reached = np.flatnonzero(np.array(active) >= random[-1])
        needs.append((reached[0] + 1) / len(random) if len(reached) else 1.0)
        curves.append({"random": random, "active": active})
    mean = mean_interval(needs)
    screen.print(
        f"active needs {mean} of the random arm's judgments (accuracy {np.mean([c['random'][-1] for c in curves]):.3f})"
    )
    if chosen.json:
        steps = [BATCH * (n + 1) for n in range(len(curves[0]["random"]))]
        about = {"benchmark": "active_selection", "needs": mean.to_dict(), "by_seed": needs}
        print_result({**about, "judgments": steps, "accuracy": curves})


def accuracies(seed: int, active: bool, budget: int) -> list[float]:
    """Held-out accuracy of the reward after every batch."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(TASKS * ANSWERS, FEATURES))
    weights = rng.normal(size=FEATURES)
    weights /= np.linalg.norm(weights)
    quality = np.sqrt(0.9) * features @ weights + np.sqrt(0.1) * rng.normal(size=len(features))
    probe = rng.normal(size=(4000, FEATURES)) - rng.normal(size=(4000, FEATURES))
    slope = 2.0 * np.exp(rng.normal(0, 0.35, ANNOTATORS))
    slope[:2] = 0.0
    position = rng.normal(0.1, 0.3, ANNOTATORS)
    low, high = np.triu_indices(ANSWERS, 1)
    one, other = ((np.arange(TASKS)[:, None] * ANSWERS + side).ravel() for side in (low, high))
    asked, given = [], []
    belief, found = RewardBelief.prior(FEATURES), []
    while len(found) * BATCH < budget:
        if active:
            pair = belief.choose(features[one] - features[other], BATCH, seed=len(found))
        else:
            pair = rng.choice(len(one), BATCH, replace=False)
        turned = rng.random(BATCH) < 0.5
        first, second = np.where(turned, other[pair], one[pair]), np.where(turned, one[pair], other[pair])
        annotator = rng.integers(0, ANNOTATORS, BATCH)
        u = slope[annotator] * (quality[first] - quality[second]) + position[annotator] + rng.logistic(size=BATCH)
        asked.append(np.stack([first, second, annotator]))
        given.append((np.sign(u) * (np.abs(u)[:, None] > [0.3, 1.5, 3.0]).sum(axis=1)).astype(np.int64))
        belief = fitted(np.concatenate(asked, axis=1), np.concatenate(given), features)
        found.append(float(((probe @ belief.mean > 0) == (probe @ weights > 0)).mean()))
    return found


def fitted(asked: np.ndarray, strength: np.ndarray, features: np.ndarray) -> RewardBelief:
    """The reward's last layer with the reliabilities that the annotator model finds."""
    first, second, annotator = asked
    data = Comparisons(first, second, annotator, strength, np.zeros(len(first)), len(features), ANNOTATORS)
    model = fit_comparisons(
        data,
        tuple(map(str, range(ANNOTATORS))),
        tuple(map(str, range(len(features)))),
        tuple(map(str, range(len(first)))),
    )
    difference = features[first] - features[second]
    return RewardBelief.fit(difference, (np.sign(strength) + 1) / 2, model.reliability[annotator])


if __name__ == "__main__":
    main()
