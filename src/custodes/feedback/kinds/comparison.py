"""Which of two answers is better, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from custodes.feedback.questions import AnswerForm, AxisQuestion
from custodes.registry import kind
from custodes.types import Compared, InputError, Judgment

Verdict = Literal["prefer", "tie", "both_bad", "cannot_judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Judgment):
    """Two episodes side by side. ``strength`` is -3..3 without 0 when ``verdict`` is "prefer":
    positive means that the *first shown* is better; it is 0 for every other verdict.

    A source may say more: ``probability`` that the first shown is better (a soft label), ``weight`` of the judgment in
    training, and ``margin``, by how much the reward of the better one should exceed that of the other."""

    kind = "comparison"
    seldom: ClassVar[Mapping[str, Any]] = {"probability": None, "weight": 1.0, "margin": 0.0}
    form = "pair"

    verdict: Verdict = "prefer"
    strength: int = 0
    axis: str = "overall"
    probability: float | None = None
    weight: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        if len(self.episodes) != 2:
            raise InputError(f"comparison {self.id} holds {len(self.episodes)} episodes; it takes 2.")
        if self.verdict not in get_args(Verdict):
            raise InputError(f"comparison {self.id}: verdict {self.verdict!r} is not one of {get_args(Verdict)}.")
        if (self.verdict == "prefer") != (self.strength != 0) or abs(self.strength) > 3:
            raise InputError(
                f"comparison {self.id}: verdict {self.verdict!r} with strength {self.strength}; "
                "a preference has strength -3..3 without 0, every other verdict has 0."
            )
        if self.probability is not None and (self.probability - 0.5) * self.strength < 0:
            raise InputError(
                f"comparison {self.id}: strength {self.strength} and probability {self.probability} of the first shown "
                "contradict each other."
            )
        if not (self.probability is None or 0 <= self.probability <= 1) or self.weight < 0:
            raise InputError(
                f"comparison {self.id}: probability {self.probability}, weight {self.weight}; "
                "a probability is 0 to 1 and a weight 0 or more."
            )

    def comparisons(self, axis: str | None = "overall", weightless: bool = False) -> list[Compared]:
        """Itself; a comparison of weight 0 is to count for nothing."""
        if axis not in (self.axis, None) or self.verdict == "cannot_judge" or not (self.weight or weightless):
            return []
        first, second = self.episodes
        stated = self.probability, self.weight, self.margin
        return [Compared(self.id, self.annotator, first, second, self.strength, *stated)]

    def known(self, gold: Mapping[str, Any]) -> Any:
        return gold.get("better") if self.axis == "overall" else None

    def is_right(self, known: Any) -> bool | None:
        if known not in self.episodes:
            return None
        return self.strength > 0 if known == self.episodes[0] else self.strength < 0

    def stance(self) -> object:
        return self.verdict, self.strength

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        sides = ["response1", "response2"] if self.episodes[0] == order[0] else ["response2", "response1"]
        better = sides[self.strength < 0] if self.strength else self.verdict
        return "preference" if self.axis == "overall" else f"preference-{self.axis}", better


@kind
class ComparisonQuestion(AxisQuestion):
    """Which of two answers is better. ``strength`` above 0: the answer at the left."""

    judgment = Comparison
    takes = ("verdict",)
    may_take = ("strength",)
    about = "all"
    shows = 2
    missing = "say which answer is better."

    def problem(self) -> str:
        return "" if self.sides == 2 else "a comparison shows 2 answers; use a ranking for more"

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        value = form.values.get(f"q{number}", "")
        if value in ("", "tie", "both_bad", "cannot_judge"):
            return [{"verdict": value}] if value else []
        return [{"verdict": "prefer", "strength": int(value)}]
