"""How often each interval of ``custodes.stats`` holds the truth, by simulation, as a table in Markdown.

    python benchmarks/coverage.py

Every cell draws data of which the truth is known, as often as ``--replications`` says, and counts how often the 95 %
interval holds it: few items, rates near 0 and 1, skewed values, items that repeat (clusters). A test of paired items is
counted as covering where it does not reject at .05 what is equal. The seed is fixed, so that the table comes out again.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from result import print_result
from rich.console import Console
from rich.progress import track
from scipy.special import expit, logit, ndtri

from custodes import stats
from custodes.feedback.agreement import agreement_in, agreement_on_labels
from custodes.feedback.elo import elo
from custodes.feedback.kinds.label import Label
from custodes.feedback.labels import label_table
from custodes.stats import Interval

Draw = Callable[[np.random.Generator], tuple[Interval, float]]  # the interval of one data set, and the truth


@dataclass(frozen=True)
class Cell:
    """One kind of number in one setting."""

    of: str
    where: str
    draw: Draw


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of a cell held the truth, and their median width."""

    cell: Cell
    held: Interval
    width: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=400, help="data sets of each cell (400)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    screen = Console(stderr=True)
    rows = [measure(cell, chosen.replications) for cell in track(list(cells()), "cells", console=screen)]
    print(table(rows))
    screen.print(f"{sum(r.held.estimate < 0.93 for r in rows)} of {len(rows)} cells are below .93.")
    if chosen.json:
        told = [{"of": r.cell.of, "where": r.cell.where, "width": r.width, **r.held.to_dict()} for r in rows]
        print_result({"benchmark": "coverage", "replications": chosen.replications, "cells": told})


def measure(cell: Cell, replications: int) -> Coverage:
    """Of one cell; its data depend on its names alone."""
    rng = np.random.default_rng(zlib.crc32(f"{cell.of}, {cell.where}".encode()))
    found = [cell.draw(rng) for _ in range(replications)]
    held = [i.low <= truth <= i.high for i, truth in found]
    return Coverage(cell, stats.rate(held), float(np.median([i.high - i.low for i, _ in found])))


def table(rows: list[Coverage]) -> str:
    """Markdown; what covers less than .93 of the time is bold."""
    lines = ["| of | where | holds the truth | median width |", "|---|---|---|---|"]
    for row in rows:
        share = f"{row.held.estimate:.3f}".lstrip("0")
        share = f"**{share}**" if row.held.estimate < 0.93 else share
        width = "" if row.cell.of == "a paired test" else f"{row.width:.2g}" if row.width < 100 else f"{row.width:.0f}"
        lines.append(f"| {row.cell.of} | {row.cell.where} | {share} | {width} |")
    return "\n".join(lines)


def cells() -> Iterator[Cell]:
    """All of them, in the order of the table."""
    for n in (5, 20, 100):
        for p in (0.02, 0.1, 0.5, 0.98):
            yield Cell("a rate", f"{n} items, rate {p}", _rate(n, p))
    for G, most in ((5, 10), (20, 10), (100, 5)):
        for p in (0.02, 0.3, 0.98):
            for alike in (0.0, 0.5, 1.0):
                where = f"{G} clusters of 1 to {most}, rate {p}, correlation {alike:g}"
                yield Cell("a clustered rate", where, _clustered_rate(G, most, p, alike))
    for name in SHAPES:
        for n in (5, 20, 100):
            yield Cell("a mean", f"{n} {name} values", _mean(n, name))
    for G in (5, 20):
        yield Cell("a clustered mean", f"{G} clusters of 1 to 10", _clustered_mean(G))
    for n in (5, 20, 100):
        for change in (0.0, 0.3):
            yield Cell("a paired difference of rates", f"{n} pairs, {change:g}", _paired_rates(n, change))
    for change in (0.0, 0.2):
        yield Cell(
            "a clustered difference of rates", f"20 clusters of 10 pairs, {change:g}", _clustered_difference(change)
        )
    for n in (5, 20):
        yield Cell("a paired difference of means", f"{n} normal pairs", _paired_means(n))
    yield Cell("a paired difference of means", "20 pairs of which 9 in 10 are equal", _paired_means(20, 0.1))
    for n in (6, 20):
        yield Cell("a paired test", f"{n} skewed pairs", _test(n, None))
    yield Cell("a paired test", "20 clusters of 10 pairs, 0 or 1", _test(20, 10))
    for a, b in ((4, 4), (4, 50), (10, 10), (50, 50)):
        for area in (0.5, 0.75, 0.95, 0.995):
            yield Cell("an area under the curve", f"{a} and {b} cases, area {area}", _area(a, b, area, 1.0))
    yield Cell(
        "an area under the curve", "4 and 50 cases, area 0.75, one side spread 2.5 times", _area(4, 50, 0.75, 2.5)
    )
    yield Cell("a clustered area", "12 functions of 5 versions a side, area 0.75", _clustered_area())
    for n in (30, 100, 400):
        for name in TRUTHS:
            yield Cell("a calibration error", f"{n} predictions, {name}", _calibration(n, name))
    yield Cell("a clustered calibration error", "20 prompts of 10 pairs, calibrated", _clustered_calibration())
    for n in (30, 300):
        for weight in (0.0, 1.5, 4.0):
            yield Cell("a coefficient of choices", f"{n} choices, 3 properties, {weight:g}", _choices(n, 1, weight))
    yield Cell("a coefficient of choices", "40 prompts of 5 choices that share a lean, 1.5", _choices(40, 5, 1.5))
    for n in (10, 40):
        yield Cell("a rank correlation", f"{n} items, 0.6", _rank(n))
    for n in (12, 50):
        for name in ("alpha", "kappa", "AC1"):
            yield Cell(f"{name} of two annotators", f"{n} items, each errs on 15 %", _agreement(n, name))
    for n in (1, 5, 20, 100):
        for apart in (0, 200, 600):
            yield Cell("an Elo difference", f"2 writers, {n} problems, {apart} apart", _elo(n, apart))


# ---------------------------------------------------------------- data whose truth is known


def _rate(n: int, p: float) -> Draw:
    return lambda rng: (stats.rate(rng.random(n) < p), p)


def _ids(rng: np.random.Generator, G: int, most: int) -> np.ndarray:
    return np.repeat(np.arange(G), rng.integers(1, most + 1, G))


def _shares(rng: np.random.Generator, G: int, p: float, alike: float) -> np.ndarray:
    """(G,) the rate within each cluster: beta distributed, ``alike`` the correlation of two items of one."""
    if alike in (0.0, 1.0):
        return np.full(G, p) if alike == 0 else (rng.random(G) < p).astype(float)
    weight = (1 - alike) / alike
    return rng.beta(p * weight, (1 - p) * weight, G)


def _clustered_rate(G: int, most: int, p: float, alike: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        ids = _ids(rng, G, most)
        return stats.rate(rng.random(len(ids)) < _shares(rng, G, p, alike)[ids], ids.tolist()), p

    return draw


SHAPES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda rng, n: rng.normal(3, 1, n), 3.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
    "log-normal": (lambda rng, n: rng.lognormal(0, 1, n), math.exp(0.5)),
    "Poisson (0.3)": (lambda rng, n: rng.poisson(0.3, n).astype(float), 0.3),
}


def _mean(n: int, name: str) -> Draw:
    values, truth = SHAPES[name]
    return lambda rng: (stats.mean_interval(values(rng, n)), truth)


def _clustered_mean(G: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        ids = _ids(rng, G, 10)
        return stats.mean_interval(rng.normal(0, 1, G)[ids] + rng.normal(0, 1, len(ids)), ids.tolist()), 0.0

    return draw


def _pairs(rng: np.random.Generator, p: np.ndarray, change: float) -> tuple[np.ndarray, np.ndarray]:
    """Two answers to each item of rates ``p`` (n,), the second right more often by the share ``change`` of those wrong."""
    a = rng.random(len(p)) < p
    again = np.where(rng.random(len(p)) < 0.7, a, rng.random(len(p)) < p)
    return again | (rng.random(len(p)) < change), a


def _paired_rates(n: int, change: float) -> Draw:
    return lambda rng: (stats.paired_difference(*_pairs(rng, np.full(n, 0.1), change)), 0.9 * change)


def _clustered_difference(change: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        ids = np.repeat(np.arange(20), 10)
        a, b = (rng.random(200) < _shares(rng, 20, 0.2, 0.5)[ids] for _ in range(2))
        a |= rng.random(200) < change
        return stats.paired_difference(a, b, ids.tolist()), 0.8 * change

    return draw


def _paired_means(n: int, differing: float = 1.0) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        shared = rng.normal(0, 5, n)
        changed = rng.normal(0.5, 1, n) * (rng.random(n) < differing)
        return stats.paired_difference(shared + changed, shared), 0.5 * differing

    return draw


def _test(n: int, plays: int | None) -> Draw:
    """Counted as an interval that holds 0 where p is .05 or more; it has no width."""

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        if plays is None:
            found = stats.paired_test(rng.exponential(1, n), rng.exponential(1, n))
        else:
            ids = np.repeat(np.arange(n), plays)
            a, b = (rng.random(len(ids)) < _shares(rng, n, 0.3, 0.5)[ids] for _ in range(2))
            found = stats.paired_test(a, b, ids.tolist())
        return Interval(found.p, 0.0 if found.p >= 0.05 else math.nan, math.nan if found.p < 0.05 else 0.0, n), 0.0

    return draw


def _area(a: int, b: int, area: float, spread: float) -> Draw:
    apart = float(ndtri(area)) * math.sqrt(1 + spread**2)

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        score = np.concatenate([rng.normal(apart, spread, a), rng.normal(0, 1, b)])
        return stats.auc(score, np.arange(a + b) < a), area

    return draw


def _clustered_area() -> Draw:
    apart = float(ndtri(0.75)) * math.sqrt(2)

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        ids = np.repeat(np.arange(24), 5)
        score = rng.normal(0, math.sqrt(0.7), 24)[ids] + rng.normal(0, math.sqrt(0.3), 120)
        return stats.auc(score + apart * (ids < 12), ids < 12, ids.tolist()), 0.75

    return draw


TRUTHS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "calibrated": (lambda rng, n: rng.uniform(0.5, 1, n), lambda p: p),
    "calibrated and sure": (lambda rng, n: expit(rng.normal(3, 1.5, n)), lambda p: p),
    "too sure by a temperature of 2": (lambda rng, n: rng.uniform(0, 1, n), lambda p: expit(logit(p) / 2)),
    "0.15 too high": (lambda rng, n: rng.uniform(0.2, 0.9, n), lambda p: p - 0.15),
}


def _calibration(n: int, name: str) -> Draw:
    predict, true = TRUTHS[name]
    many = predict(np.random.default_rng(0), 200_000)
    error = float(np.abs(many - true(many)).mean())

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        p = predict(rng, n)
        return stats.calibration_error(p, rng.random(n) < true(p)), error

    return draw


def _clustered_calibration() -> Draw:
    """Of each prompt one pair, met ten times."""

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        ids, p = np.repeat(np.arange(20), 10), rng.uniform(0.5, 1, 20)
        return stats.calibration_error(p[ids], (rng.random(20) < p)[ids], clusters=ids.tolist()), 0.0

    return draw


def _choices(clusters: int, each: int, weight: float) -> Draw:
    """Three correlated properties; choices of one prompt share a lean of their own towards one property."""

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        x = rng.normal(0, 0.4, (clusters * each, 3)) + rng.normal(0, 0.2, (clusters * each, 1))
        ids = np.repeat(np.arange(clusters), each)
        first, of_prompt = (
            np.array([weight, -1.0, 0.0]),
            rng.normal(0, 0.5, clusters) if each > 1 else np.zeros(clusters),
        )
        chosen = rng.random(len(ids)) < expit(x @ first + of_prompt[ids] * x[:, 0])
        return stats.choice_coefficients(x, chosen, ids.tolist())[0], weight

    return draw


def _rank(n: int) -> Draw:
    truth = 6 / np.pi * np.arcsin(0.3)  # of a bivariate normal with correlation 0.6

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], n).T
        return stats.rank_correlation(x, y), float(truth)

    return draw


def _agreement(n: int, name: str) -> Draw:
    errs, often = 0.15, 0.6
    same = errs**2 + (1 - errs) ** 2
    said = often * (1 - errs) + (1 - often) * errs
    chance = said**2 + (1 - said) ** 2
    truth = (same - (1 - chance)) / chance if name == "AC1" else (same - chance) / (1 - chance)

    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        true = rng.random(n) < often
        a, b = (true ^ (rng.random(n) < errs) for _ in range(2))
        if name != "alpha":
            (pair,) = agreement_in(
                label_table(np.repeat(np.arange(n), 2), ["a", "b"] * n, np.stack([a, b], axis=1).ravel())
            ).pairs
            return (pair.ac1 if name == "AC1" else pair.kappa), truth
        labels = [
            Label(id=f"{who}{i}", annotator=who, task="t", episodes=(f"e{i}",), name="ok", value=str(x[i]))
            for who, x in (("a", a), ("b", b))
            for i in range(n)
        ]
        return agreement_on_labels(labels, "ok").alpha, truth

    return draw


def _elo(n: int, apart: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Interval, float]:
        value = np.array([apart, 0.0]) * math.log(10) / 400 + rng.gumbel(size=(n, 2))
        problems = [k for k in range(n) for _ in range(2)]
        return elo(problems, ["a", "b"] * n, value.ravel()).difference("a", "b"), apart

    return draw


if __name__ == "__main__":
    main()
