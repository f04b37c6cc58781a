"""What critics write, measured where the truth is known: policies side by side on the same code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes import stats
from custodes.critic.families import clusters
from custodes.critic.rating import NITPICKS, Rated, rate
from custodes.critic.review.question import CLEAN, OPENING, task_of
from custodes.critic.review.snippets import Snippet
from custodes.critic.search import Search
from custodes.critic.tamper.bugs import Bug
from custodes.critic.tamper.examples import Example
from custodes.feedback.critique import Critique, Finding, parse_critique, write_critique
from custodes.stats import Interval
from custodes.types import Episode, Task

PERCENTILES = (10, 25, 50, 75)
"""Of the number of highlights of sampled critiques: what the four modifiers of a search aim at (arXiv 2407.00215)."""
MEASURES = (
    "cbi",
    "located",
    "comprehensiveness",
    "hallucinations",
    "nitpicks",
    "conciseness",
    "findings",
    "words",
    "overall",
)

SHARES = ("cbi", "located")
"""Measures that are a share of a question's bugs."""


@dataclass(frozen=True, slots=True)
class Question:
    """Code to criticise (or an assistant's answer), as every policy is asked, and its bugs, which none is told."""

    task: Task
    code: str
    bugs: tuple[Bug, ...]
    opening: str = OPENING
    """The words that force a quote."""
    function: str = ""
    """Whose version the code is; intervals count functions."""


def question(example: Example) -> Question:
    """What is asked of an example's code."""
    return Question(
        task_of(Snippet("", 1, example.code, example.qualname)), example.code, example.bugs, function=example.function
    )


def demonstration(example: Example) -> str:
    """The critique that points out an example's bugs and nothing else, or says that there is none."""
    lines = example.code.split("\n")
    findings = [
        Finding("\n".join(lines[min(bug.lines) - 1 : max(bug.lines)]), bug.description)
        for bug in sorted(example.bugs, key=lambda bug: bug.lines)
    ]
    return write_critique(Critique(tuple(findings))) if findings else CLEAN


def rated(asked: Sequence[Question], episodes: Sequence[Episode]) -> list[Rated]:
    """Each episode's critique, by the rules."""
    return [rate(parse_critique(e.completion), q.code, q.bugs) for q, e in zip(asked, episodes, strict=True)]


@dataclass(frozen=True, eq=False)
class Measured:
    """A policy's critiques of N questions; every measure is (N,), not a number where it does not apply."""

    values: Mapping[str, NDArray[np.float64]]
    clean: NDArray[np.bool_]  # (N,)
    nitpicks: Mapping[str, NDArray[np.float64]]
    """Category -> how many of it a critique holds, (N,)."""
    functions: NDArray[np.object_]  # (N,), what intervals count

    def of(self, measure: str) -> Interval:
        """Mean with its interval over functions; of shares of bugs that of a rate."""
        values = self.values[measure]
        known = ~np.isnan(values)
        interval = stats.rate if measure in SHARES else stats.mean_interval
        return interval(values[known], self.functions[known].tolist())

    @property
    def false_alarms(self) -> Interval:
        """Share of clean functions with a finding."""
        return stats.rate(self.values["findings"][self.clean] > 0, self.functions[self.clean].tolist())

    def against(self, other: Measured, measure: str) -> dict[str, Any]:
        """This policy minus another on the same questions, paired: difference, interval, test, p, and a note where the
        functions are too few. Ready for JSON."""
        mine, theirs = self.values[measure], other.values[measure]
        both = ~(np.isnan(mine) | np.isnan(theirs))
        functions = self.functions[both].tolist()
        once = functions if len(set(functions)) < len(functions) else None
        test = stats.paired_test(mine[both], theirs[both], once)
        found = stats.paired_difference(mine[both], theirs[both], once).to_dict() | {"test": test.test, "p": test.p}
        return found | ({"note": test.note} if test.note else {})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        told = {measure: self.of(measure).to_dict() for measure in MEASURES}
        categories = {
            category: stats.mean_interval(counts, self.functions.tolist()).to_dict()
            for category, counts in self.nitpicks.items()
        }
        return told | {"false_alarms": self.false_alarms.to_dict(), "nitpick_categories": categories}


def measure(asked: Sequence[Question], critiques: Sequence[Sequence[Rated]]) -> Measured:
    """Of each question the mean over its critiques (one, or several samples)."""
    rows: dict[str, list[float]] = {name: [] for name in MEASURES}
    petty: dict[str, list[float]] = {category: [] for category in NITPICKS}
    for q, several in zip(asked, critiques, strict=True):
        n = len(q.bugs)
        found = {
            "cbi": [r.included / n if n else np.nan for r in several],
            "located": [r.located / n if n else np.nan for r in several],
            "hallucinations": [float(r.hallucinations) for r in several],
            "nitpicks": [float(r.nitpicks) for r in several],
            "findings": [float(len(r.findings)) for r in several],
            "words": [float(r.words) for r in several],
        } | {name: [r.scales()[name] for r in several] for name in ("comprehensiveness", "conciseness", "overall")}
        for name, values in found.items():
            rows[name].append(float(np.mean(values)))
        for category, counts in petty.items():
            counts.append(float(np.mean([sum(f.category == category for f in r.findings) for r in several])))
    clean = np.array([not q.bugs for q in asked])
    return Measured(
        {name: np.array(values) for name, values in rows.items()},
        clean,
        {category: np.array(counts) for category, counts in petty.items()},
        np.array(clusters(q.function for q in asked), object),
    )


def modifiers(searches: Sequence[Search], sampled_highlights: Sequence[int]) -> dict[int, float]:
    """Percentile -> the modifier at which the chosen critiques hold, on average, as many highlights as that percentile
    of sampled critiques: found by bisection, since more is never fewer."""
    found = {}
    for percentile in PERCENTILES:
        target = float(np.percentile(sampled_highlights, percentile)) if len(sampled_highlights) else 0.0
        low, high = -20.0, 20.0
        for _ in range(40):
            middle = (low + high) / 2
            mean = np.mean([s.chosen(middle).highlights for s in searches])
            low, high = (middle, high) if mean < target else (low, middle)
        found[percentile] = (low + high) / 2
    return found
