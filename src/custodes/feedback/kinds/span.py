"""What is wrong where in an answer: passages with a category and a severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from custodes.feedback.fields import stored_place
from custodes.feedback.questions import Answer, AnswerForm, CategoryQuestion
from custodes.registry import kind
from custodes.types import Episode, InputError, Judgment


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanMark(Judgment):
    """Fine-grained feedback: characters ``start:end`` of the completion; severity 1 (slight) to 3."""

    kind = "span_mark"
    form = "spans"

    start: int
    end: int
    category: str
    severity: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or self.severity not in (1, 2, 3):
            raise InputError(
                f"span {self.id}: {self.start}:{self.end} severity {self.severity}; "
                "give 0 <= start < end and severity 1..3."
            )

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        return "span", [{"label": self.category, "start": self.start, "end": self.end}]


@kind
class SpanQuestion(CategoryQuestion):
    """Marks on any passages of the answers."""

    judgment = SpanMark
    takes = ("start", "end", "choice")
    may_take = ("severity",)
    repeats = True
    missing = "mark at least one passage."
    row = ".0"

    def problem(self) -> str:
        return "" if self.values else "a span needs at least one value, the categories that can be marked"

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        answers = []
        for place, text in enumerate(form.texts):
            for start, end, category, severity in marks_in(form, f"q{number}.{place}"):
                edges = {"start": stored_place(text, start), "end": stored_place(text, end)}
                answers.append({"place": place, **edges, "choice": category, "severity": severity})
        return answers

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        category, length = self.choice(answer, given.pop("choice")), len(shown[0].completion)
        if isinstance(end := given["end"], int) and end > length:
            raise InputError(
                f"question {answer.question}: the span ends at {end:,}; the answer has {length:,} characters."
            )
        return {**given, "category": category}


def marks_in(form: AnswerForm, name: str) -> list[tuple[int, int, Any, Any]]:
    """What is marked in an answer's field: first and after the last character, category, severity."""
    length = max(map(len, form.texts), default=0)
    marks = [tuple(m) for m in form.listed(name) if isinstance(m, list) and len(m) == 4]
    return [m for m in marks if isinstance(m[0], int) and isinstance(m[1], int) and 0 <= m[0] < m[1] <= length]
