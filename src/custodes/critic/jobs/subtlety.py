"""How subtle bugs are, operator by operator, and whether one file's are subtler than another's: ``custodes critic subtlety``.

With ``--against`` the adversarial step is measured: the bugs that ``custodes critic select`` kept against those that it chose
from, seen by the same discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.critic.families import clusters
from custodes.critic.jobs.evaluate import Case, Remembered, read_cases
from custodes.critic.lines import LineScores, ScoresLines
from custodes.critic.rows import open_scorer
from custodes.critic.subtlety import subtlety, told
from custodes.feedback.reading import select_rows
from custodes.job.command import command, in_words
from custodes.lm.loading import DtypeName
from custodes.stats import Interval, auc, rate, weighted_sum
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class CriticSubtlety:
    """How subtle each operator's bugs are to a scorer of lines."""

    data: Path
    """Rows that `custodes critic tamper` or `select` made, JSON Lines."""
    critic: str = "likelihood"
    """The discriminator: folder of a trained scorer of lines, shipped (the one that comes with Custodes), or likelihood."""
    model: str = "smollm2-135m"
    """The model of likelihood; the base of a critic, where it is not the one that its folder names."""
    split: str = ""
    """Only rows of this split; all where empty."""
    rows: str = ""
    """Use rows FIRST:END of these only, counted from 0 and without END, e.g. 0:300."""
    against: Path | None = None
    """Another file of such rows, for example what was selected from."""
    dtype: DtypeName = "auto"
    """Precision of computation."""


@command()
def critic_subtlety(config: CriticSubtlety) -> dict[str, Any]:
    """Say how subtle each operator's bugs are: how badly a discriminator tells them from clean code.

    Areas under the ROC curve and localisation, for all bugs and by operator. Raises InputError for rows that are none.
    """
    scorer = Remembered(open_scorer(config.critic, config.model, config.dtype))
    cases, scores = _scored(config, config.data, scorer)
    operators = [c.operators for c in cases]
    found = subtlety(scores, [c.lines for c in cases], operators, [c.row.function for c in cases])
    mine = _whole(cases, scores)
    result: dict[str, Any] = {"all": {name: i.to_dict() for name, i in mine.items()}, "operators": told(found)}
    if config.against is not None:
        other = _whole(*_scored(config, config.against, scorer))
        difference = {name: weighted_sum((1, mine[name]), (-1, other[name])).to_dict() for name in mine}
        result |= {"against": config.against.name, "difference": difference}
        result |= {"other": {name: i.to_dict() for name, i in other.items()}}
    return result


@in_words(critic_subtlety)
def _show(options: CriticSubtlety, told: dict[str, Any]) -> None:
    for name in ("all", *told["operators"]):
        one = told["all"] if name == "all" else told["operators"][name]
        area, hit = Interval.from_dict(one["discrimination"]), Interval.from_dict(one["at_1"])
        print(f"{name.replace('_', ' '):<30}area under ROC {area}   likeliest line is the bug's {hit}")
    if "against" in told:
        for name, words in (("discrimination", "area under ROC"), ("at_1", "likeliest line is the bug's")):
            print(
                f"{options.data.name} minus {told['against']}, {words}: {Interval.from_dict(told['difference'][name])}"
            )


def _scored(config: CriticSubtlety, path: Path, scorer: ScoresLines) -> tuple[list[Case], list[LineScores]]:
    cases = [c for c in read_cases(path) if not config.split or c.row.split == config.split]
    if not cases:
        raise InputError(f"{path} has no row of split {config.split!r}.")
    cases = select_rows(cases, config.rows, path.name)
    if all(c.lines for c in cases) or not any(c.lines for c in cases):
        raise InputError(f"{path}: subtlety needs both clean functions and functions with bugs.")
    return cases, scorer.scores([c.row.bug.code for c in cases])


def _whole(cases: Sequence[Case], scores: Sequence[LineScores]) -> dict[str, Interval]:
    """Of all operators' bugs together; intervals count functions."""
    functions = clusters(c.row.function for c in cases)
    with_bug = [i for i, c in enumerate(cases) if c.lines]
    return {
        "discrimination": auc([1 - s.none for s in scores], [bool(c.lines) for c in cases], functions),
        "at_1": rate([scores[i].order()[0] in cases[i].lines for i in with_bug], [functions[i] for i in with_bug]),
    }
