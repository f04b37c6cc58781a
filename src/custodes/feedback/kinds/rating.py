"""How good an answer is on an axis, as a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from custodes.feedback.questions import Answer, AnswerForm, AxisQuestion
from custodes.registry import kind
from custodes.types import Episode, InputError, Judgment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating(Judgment):
    """One episode on a named axis, from ``lowest`` to ``highest``: 1..7 (4 = unsure) where nothing else is said."""

    kind = "rating"
    seldom: ClassVar[Mapping[str, Any]] = {"lowest": 1, "highest": 7}
    form = "number"

    value: float
    axis: str = "overall"
    lowest: float = 1
    highest: float = 7

    def __post_init__(self) -> None:
        if not self.lowest <= self.value <= self.highest:
            raise InputError(f"rating {self.id}: value {self.value} is outside {self.lowest}..{self.highest}.")

    def known(self, gold: Mapping[str, Any]) -> Any:
        return gold.get("ratings", {}).get(self.axis)

    def is_right(self, known: Any) -> bool | None:
        low, high = known
        return bool(low <= self.value <= high)

    def stance(self) -> object:
        return self.value

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        return f"rating-{self.axis}", self.value


@kind
class RatingQuestion(AxisQuestion):
    """A whole number on the axis's scale for each answer."""

    judgment = Rating
    takes = ("value",)
    of_each = True

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        return [{"place": place, "value": int(value)} for place, value in form.each_place(number, "a rating")]

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        value, lowest, highest = given["value"], self.scale.lowest, self.scale.highest
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise InputError(
                f"question {answer.question}: value {str(value)[:60]!r}; give a whole number from {lowest} to {highest}."
            )
        return {**super().own_fields(answer, given), "lowest": lowest, "highest": highest}
