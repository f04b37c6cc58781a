"""What more training examples bring: scorers of lines trained on four sizes, a power law fitted to what they reach.

What ``custodes critic scaling`` does. All sizes are drawn by one seed, everything else is equal. Of a share y that is right
after n examples the curve is 1 - y = a n^(-b): a straight line of log(1 - y) over log n. Localisation is the share of
functions whose likeliest line is the bug's. Bugs included (CBI) is the share of which the scorer's words about that line
describe the bug too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes import stats
from custodes.critic.examples import TRAIN, BugExample, read_bug_examples
from custodes.critic.jobs.train import CriticTrain, LineTraining, trained_scorer
from custodes.critic.lines import ScoresLines
from custodes.critic.rating import rate_critique
from custodes.critic.report.scaling import write_scaling_page
from custodes.feedback.critique import Critique, Finding
from custodes.job.command import command, in_words
from custodes.job.invocation import begin
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.ranges import ranged
from custodes.stats import Interval
from custodes.types import InputError

Floats = NDArray[np.float64]
SIZES = 4
TITLES = {"localisation": "likeliest line is the bug's", "cbi": "bugs included (CBI)"}


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticScaling(LineTraining):
    """Train scorers of lines on several sizes of data. The same command again goes on where it was interrupted."""

    out: Output
    """Folder of the critics and of the report."""
    largest: int = 0
    """Examples of the largest size; 0 takes all. The others are a half, a quarter and an eighth of it."""
    measure_on: int = 500
    """Functions with bugs of each held-out split on which every size is measured."""


@command(resumes=True)
def critic_scaling(config: CriticScaling) -> dict[str, Any]:
    """Train scorers of lines on four sizes of data, and fit what more examples bring.

    Train, measure, fit and write the report; returns it. Raises InputError where the rows are too few.
    """
    examples = read_bug_examples(config.data)
    with_bugs = sum(e.split == TRAIN and bool(e.bug_lines) for e in examples)
    largest = min(config.largest or with_bugs, with_bugs)
    sizes = [largest // 2**k for k in reversed(range(SIZES))]
    if sizes[0] < 1:
        raise InputError(f"{config.data} has {with_bugs} rows with bugs to learn from; {SIZES} sizes need at least 8.")
    held_out = [e for e in examples if e.split != TRAIN and e.bug_lines]
    names = dict.fromkeys(e.split for e in held_out)
    splits = {name: [e for e in held_out if e.split == name][: config.measure_on] for name in names}
    if not splits:
        raise InputError(f"{config.data} has no held-out row with a bug; make it with custodes critic tamper.")
    hits: dict[str, dict[str, list[list[bool]]]] = {split: {name: [] for name in TITLES} for split in splits}
    for size in sizes:
        folder = config.out / f"{size}-examples"
        shared = {f.name: getattr(config, f.name) for f in fields(LineTraining)}
        options = CriticTrain(out=folder, examples=size, **shared)
        with Workspace.open(folder, "critic train", options, config.training.seed) as work:
            scorer = trained_scorer(options, examples, work)  # one that is there is not trained again
        for split, own in splits.items():
            for name, right in _right(scorer, own).items():
                hits[split][name].append(right)
    study = {
        "data": config.data.name,
        "model": config.model,
        "sizes": sizes,
        "splits": {
            split: {
                name: _fitted(sizes, rows, TITLES[name], [e.function for e in splits[split]])
                for name, rows in measures.items()
            }
            for split, measures in hits.items()
        },
    }
    begin()
    write_scaling_page(study, config.out)
    return study


@in_words(critic_scaling)
def _show(options: CriticScaling, told: dict[str, Any]) -> None:
    for split, measures in told["splits"].items():
        for name, found in measures.items():
            values = ", ".join(f"{p['examples']:,}: {p['estimate']:.3g}" for p in found["points"])
            print(f"{split}, {name}: {values}; exponent {Interval.from_dict(found['exponent'])}")
    print(f"The report is {options.out}/report.html.")


def _right(scorer: ScoresLines, examples: Sequence[BugExample]) -> dict[str, list[bool]]:
    """Of each function, whether its bug's line is the likeliest, and whether what is said of it describes the bug."""
    localised, included = [], []
    for e, scores in zip(examples, scorer.scores([e.code for e in examples]), strict=True):
        line = int(scores.order()[0])
        finding = Finding(e.code.split("\n")[line - 1], scores.message(line))
        localised.append(line in e.bug_lines)
        included.append(rate_critique(Critique((finding,)), e.code.rstrip("\n"), e.bugs).included > 0)
    return {"localisation": localised, "cbi": included}


def _fitted(
    sizes: Sequence[int], hits: Sequence[Sequence[bool]], title: str, functions: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """Points, the fitted curve and its exponent; ``hits`` are (sizes, rows), ``functions`` (rows,) what intervals count."""
    right = np.array(hits, float)
    whose = list(functions or range(right.shape[1]))
    points = [{"examples": n, **stats.rate(row, whose).to_dict()} for n, row in zip(sizes, right, strict=True)]
    (a,), _ = _power_law(sizes, right.mean(1, keepdims=True))
    numbers = np.unique(np.array([str(f) for f in whose]), return_inverse=True)[1]
    sums = np.stack([np.bincount(numbers, row) for row in right], axis=1)  # (functions, sizes)

    def slope(sums: Floats, rows: Floats) -> float:
        return float(_power_law(sizes, sums.sum(0)[:, None] / rows.sum())[1][0])

    exponent = stats.jackknife(slope, sums, np.bincount(numbers).astype(float), imaginary=(np.zeros(len(sizes)), 1.0))
    along = np.geomspace(sizes[0], sizes[-1], 40)
    curve = [{"examples": float(n), "value": float(1 - a * n**-exponent.estimate)} for n in along]
    return {"title": title, "points": points, "curve": curve, "a": float(a), "exponent": exponent.to_dict()}


def _power_law(sizes: Sequence[int], share: Floats) -> tuple[Floats, Floats]:
    """(R,) a and b of 1 - share = a n^(-b), of (sizes, R) shares, by least squares in logarithms; a share of 1 is taken for
    0.999."""
    slope, level = np.polyfit(np.log(sizes), np.log(np.maximum(1 - share, 1e-3)), 1)
    return np.exp(level), -slope
