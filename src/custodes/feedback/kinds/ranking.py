"""The order of several answers, ties allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from custodes.feedback.questions import AnswerForm, AxisQuestion, Incomplete
from custodes.registry import kind
from custodes.types import Compared, InputError, Judgment


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Judgment):
    """``ranks[i]`` is the rank of ``episodes[i]``: 1 is best, equal ranks are ties."""

    kind = "ranking"
    form = "ranks"

    ranks: tuple[int, ...]
    axis: str = "overall"

    def __post_init__(self) -> None:
        if len(self.ranks) != len(self.episodes) or len(self.ranks) < 2 or min(self.ranks, default=0) < 1:
            raise InputError(
                f"ranking {self.id}: {len(self.ranks)} ranks for {len(self.episodes)} episodes; "
                "give one rank from 1 up for each of at least two."
            )

    def comparisons(self, axis: str | None = "overall", weightless: bool = False) -> list[Compared]:
        """Of n episodes all n (n - 1) / 2."""
        if axis not in (self.axis, None):
            return []
        return [
            Compared(self.id, self.annotator, first, second, (below > above) - (below < above))
            for (first, above), (second, below) in combinations(zip(self.episodes, self.ranks, strict=True), 2)
        ]

    def known(self, gold: Mapping[str, Any]) -> Any:
        return gold.get("better") if self.axis == "overall" else None

    def is_right(self, known: Any) -> bool | None:
        """Whether the better one is first, and alone there."""
        if known not in self.episodes:
            return None
        rank = self.ranks[self.episodes.index(known)]
        return rank == min(self.ranks) and self.ranks.count(rank) == 1

    def stance(self) -> object:
        return self.ranks

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        ranks = dict(zip(self.episodes, self.ranks, strict=True))
        value = [{"value": f"response{n}", "rank": ranks[id_]} for n, id_ in enumerate(order, 1)]
        return "ranking" if self.axis == "overall" else f"ranking-{self.axis}", value


@kind
class RankingQuestion(AxisQuestion):
    """The order of all answers shown."""

    judgment = Ranking
    takes = ("ranks",)
    about = "all"
    shows = 2

    def problem(self) -> str:
        return "a ranking shows at least 2 answers" if self.answers == 1 else ""

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        ranks = [int(value) for _, value in form.each_place(number, "the rank")]
        if ranks and len(ranks) < len(form.texts):
            raise Incomplete("rank all the answers, or none.", f"q{number}.0")
        return [{"ranks": ranks}] if ranks else []


@cache
def ranking_choices(ranks: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The choices of a ranking: (J, n) the answers that each is among, (J,) its share, (chosen,) the answers that are chosen.

    The negative log-likelihood is the sum of share * logsumexp of the scores that a choice is among, less the scores chosen.
    The last answer, where it stands alone, is no choice.
    """
    own = np.array(ranks)
    among, share, top = [], [], []
    for rank in np.unique(own):
        tied, rest = np.flatnonzero(own == rank), np.flatnonzero(own > rank)
        if len(tied) == 1 and not len(rest):
            continue
        top += tied.tolist()
        for taken in range(len(tied)):
            ways = len(tied) if taken else 1
            for way in range(ways):  # the answers taken before: every run of so many, around the tie
                row = np.zeros(len(own), bool)
                row[rest], row[tied] = True, True
                row[[tied[(way + step) % len(tied)] for step in range(taken)]] = False
                among.append(row)
                share.append(1 / ways)
    return np.array(among).reshape(-1, len(own)), np.array(share), np.array(top, int)
