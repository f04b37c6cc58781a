"""What critics write, measured where the truth is known: policies side by side on the same code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes import stats
from custodes.critic.examples import Bug, BugExample
from custodes.critic.families import clusters
from custodes.critic.rating import NITPICKS, Rated, rate_critique
from custodes.critic.review.question import CLEAN, OPENING, opening_of, task_of
from custodes.critic.review.snippets import Snippet
from custodes.critic.search import Search
from custodes.feedback.critique import Critique, Finding, parse_critique, write_critique
from custodes.stats import Interval
from custodes.types import Episode, Task

PERCENTILES = (10, 25, 50, 75)
"""Of the number of highlights of sampled critiques: what the four modifiers of a search aim at (arXiv 2407.00215)."""
SCALES = ("comprehensiveness", "conciseness", "overall")
"""Scales of a rated critique that are measures too."""
SHARES = ("cbi", "located")
"""Measures that are a share of a question's bugs."""


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """Code to criticise (or an assistant's answer), as every policy is asked, and its bugs, which none is told."""

    task: Task
    code: str
    bugs: tuple[Bug, ...]
    opening: str = OPENING
    """The words that force a quote."""
    function: str = ""
    """Whose version the code is; intervals count functions."""


def review_question(example: BugExample) -> ReviewQuestion:
    """What is asked of an example's code, or of the answer that it holds."""
    snippet = Snippet("", 1, example.code, example.qualname, example.question, example.kind)
    return ReviewQuestion(task_of(snippet), example.code, example.bugs, opening_of(snippet), example.function)


def bug_finding(code: str, bug: Bug) -> Finding:
    """The finding that quotes a bug's lines and describes it."""
    return Finding("\n".join(code.split("\n")[min(bug.lines) - 1 : max(bug.lines)]), bug.description)


def critique_demonstration(example: BugExample) -> str:
    """The critique that points out an example's bugs and nothing else, or says that there is none."""
    bugs = sorted(example.bugs, key=lambda bug: bug.lines)
    return write_critique(Critique(tuple(bug_finding(example.code, bug) for bug in bugs))) if bugs else CLEAN


def rated(asked: Sequence[ReviewQuestion], episodes: Sequence[Episode]) -> list[Rated]:
    """Each episode's critique, by the rules."""
    return [rate_critique(parse_critique(e.completion), q.code, q.bugs) for q, e in zip(asked, episodes, strict=True)]


def chosen_by(modifier: float, searches: Sequence[Search], asked: Sequence[ReviewQuestion]) -> list[Rated]:
    """Of each question's search the critique that a modifier chooses, by the rules."""
    pairs = zip(searches, asked, strict=True)
    return [rate_critique(s.chosen(modifier).critique, q.code, q.bugs) for s, q in pairs]


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
        functions = self.functions.tolist()
        petty = {name: stats.mean_interval(counts, functions).to_dict() for name, counts in self.nitpicks.items()}
        told = {measure: self.of(measure).to_dict() for measure in self.values}
        return told | {"false_alarms": self.false_alarms.to_dict(), "nitpick_categories": petty}


def measure_critiques(asked: Sequence[ReviewQuestion], critiques: Sequence[Rated]) -> Measured:
    """Measures of one policy's critiques, one of each question."""
    rows = [
        {
            "cbi": r.included / len(q.bugs) if q.bugs else np.nan,
            "located": r.located / len(q.bugs) if q.bugs else np.nan,
            "hallucinations": r.hallucinations,
            "nitpicks": r.nitpicks,
            "findings": len(r.findings),
            "words": r.words,
        }
        | {name: r.scales()[name] for name in SCALES}
        for q, r in zip(asked, critiques, strict=True)
    ]
    petty = {name: [sum(f.category == name for f in r.findings) for r in critiques] for name in NITPICKS}
    return Measured(
        {name: np.array([row[name] for row in rows], float) for name in rows[0]},
        np.array([not q.bugs for q in asked]),
        {name: np.array(counts, float) for name, counts in petty.items()},
        np.array(clusters(q.function for q in asked), object),
    )


def compared_in_pairs(measured: Mapping[str, Measured], measures: Sequence[str]) -> dict[str, dict[str, Any]]:
    """ "later - earlier" -> measure -> the difference with its paired interval, the test and its p."""
    return {
        f"{later} - {earlier}": {name: measured[later].against(measured[earlier], name) for name in measures}
        for earlier, later in combinations(measured, 2)
    }


def modifiers(searches: Sequence[Search], sampled: Sequence[Rated]) -> dict[int, float]:
    """Percentile -> the modifier at which the chosen critiques hold, on average, as many highlights as that percentile
    of sampled critiques: found by bisection, since more is never fewer."""
    highlights = [sum(f.kind != "misquote" for f in r.findings) for r in sampled]
    found = {}
    for percentile in PERCENTILES:
        target = float(np.percentile(highlights, percentile)) if highlights else 0.0
        low, high = -20.0, 20.0
        for _ in range(40):
            middle = (low + high) / 2
            mean = np.mean([s.chosen(middle).highlights for s in searches])
            low, high = (middle, high) if mean < target else (low, middle)
        found[percentile] = (low + high) / 2
    return found
