"""How subtle bugs are, operator by operator, and whether one file's are subtler than another's: ``custodes critic subtlety``.

The discriminator is any scorer of lines: its probability of a bug anywhere. An area under the ROC curve of 0.5 is as
subtle as can be for this discriminator, 1 is plain to it. With ``--against`` the adversarial step is measured: the bugs
that ``custodes critic select`` kept against those that it chose from, seen by the same discriminator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from custodes.critic.examples import BugExample
from custodes.critic.families import clusters
from custodes.critic.lines import LineScores, ScoresLines
from custodes.critic.scoring import Remembered, ScoredRows
from custodes.feedback.reading import select_rows
from custodes.job.command import command, in_words
from custodes.stats import Interval, auc, rate, weighted_sum
from custodes.types import InputError

TITLES = {"discrimination": "area under ROC", "at_1": "likeliest line is the bug's"}
"""What is measured: how well tampered functions are told from clean ones, and where the likeliest line is one of the bug's."""


@dataclass(frozen=True, kw_only=True)
class CriticSubtlety(ScoredRows):
    """How subtle each operator's bugs are to a scorer of lines."""

    critic: str = "likelihood"
    """The discriminator: the folder of a trained scorer of lines, shipped (it comes with Custodes), likelihood, or FILE.py:Name."""
    against: Path | None = None
    """Another file of such rows, for example what was selected from."""


@command()
def critic_subtlety(config: CriticSubtlety) -> dict[str, Any]:
    """Say how subtle each operator's bugs are: how badly a discriminator tells them from clean code.

    Areas under the ROC curve and localisation, for all bugs and by operator. Raises InputError for rows that are none.
    """
    scorer = Remembered(config.open())
    examples, scores = _scored(config, config.data, scorer)
    mine = _subtlety(scores, examples, [bool(e.bug_lines) for e in examples])
    by_operator = {name: _plain(of) for name, of in subtlety(scores, examples).items()}
    result: dict[str, Any] = {"all": _plain(mine), "operators": by_operator}
    if config.against is not None:
        others, scores = _scored(config, config.against, scorer)
        other = _subtlety(scores, others, [bool(e.bug_lines) for e in others])
        difference = {name: weighted_sum((1, mine[name]), (-1, other[name])) for name in mine}
        result |= {"against": config.against.name, "difference": _plain(difference), "other": _plain(other)}
    return result


@in_words(critic_subtlety)
def _show(options: CriticSubtlety, told: dict[str, Any]) -> None:
    for name, one in {"all": told["all"], **told["operators"]}.items():
        shown = "   ".join(f"{title} {Interval.from_dict(one[key])}" for key, title in TITLES.items())
        print(f"{name.replace('_', ' '):<30}{shown}")
    for key, title in TITLES.items() if "against" in told else ():
        print(f"{options.data.name} minus {told['against']}, {title}: {Interval.from_dict(told['difference'][key])}")


def _scored(config: CriticSubtlety, path: Path, scorer: ScoresLines) -> tuple[list[BugExample], list[LineScores]]:
    examples = select_rows(config.read(path), config.rows, path.name)
    if all(e.bug_lines for e in examples) or not any(e.bug_lines for e in examples):
        raise InputError(f"{path}: subtlety needs both clean functions and functions with bugs.")
    return examples, scorer.scores([e.code for e in examples])


def subtlety(scores: Sequence[LineScores], examples: Sequence[BugExample]) -> dict[str, dict[str, Interval]]:
    """Operator -> ``discrimination`` and ``at_1`` of its tampers against all clean functions, the subtlest first.

    A function with several bugs counts for each of their operators. Intervals count functions.
    """
    found = {}
    for name in sorted({name for e in examples for name in e.operators}):
        own = [name in e.operators for e in examples]
        of = _subtlety(scores, examples, own)
        found[name] = of | {"discrimination": replace(of["discrimination"], n=sum(own))}
    areas = {name: of["discrimination"].estimate for name, of in found.items()}
    return {name: found[name] for name in sorted(found, key=lambda name: (math.isnan(areas[name]), areas[name]))}


def _subtlety(scores: Sequence[LineScores], examples: Sequence[BugExample], own: Sequence[bool]) -> dict[str, Interval]:
    """Of the bugs of some functions (``own``), against all clean ones."""
    functions = clusters(e.function for e in examples)
    bugs = [i for i, (mine, e) in enumerate(zip(own, examples, strict=True)) if mine and e.bug_lines]
    both = bugs + [i for i, e in enumerate(examples) if not e.bug_lines]
    alarm, truth = [1 - scores[i].none for i in both], [True] * len(bugs) + [False] * (len(both) - len(bugs))
    hits = [int(scores[i].order()[0]) in examples[i].bug_lines for i in bugs]
    area = auc(alarm, truth, [functions[i] for i in both])
    return {"discrimination": area, "at_1": rate(hits, [functions[i] for i in bugs])}


def _plain(found: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in found.items()}
