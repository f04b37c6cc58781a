"""What comes back from a screen becomes judgments: answers to a project's questions, checked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from custodes.feedback.items import Item
from custodes.feedback.project import Project, Question
from custodes.types import (
    Comment,
    Comparison,
    Correction,
    Demonstration,
    InputError,
    Judgment,
    Label,
    Ranking,
    Rating,
    SpanMark,
    StepMark,
    Verdict,
    hash_shown,
)

Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class Answer(BaseModel):
    """An answer to one question. ``place`` is that of an answer on the screen, from 0 at the left."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Annotated[int, Field(ge=1)]
    """Number of the project's question, from 1."""
    place: Annotated[int, Field(ge=0, le=3)] | None = None
    verdict: Verdict | None = None
    strength: Annotated[int, Field(ge=-3, le=3)] | None = None
    """Above 0: the answer at the left is better."""
    ranks: Annotated[list[int], Field(max_length=4)] | None = None
    value: Annotated[int, Field(ge=-1, le=7)] | None = None
    """Of ratings 1..7, of steps -1, 0 or 1."""
    choice: Annotated[str, Field(max_length=64)] | None = None
    """Of labels and spans, one of the question's values."""
    text: Text | None = None
    start: Annotated[int, Field(ge=0)] | None = None
    end: Annotated[int, Field(ge=1)] | None = None
    severity: Literal[1, 2, 3] | None = None
    step: Annotated[int, Field(ge=0, le=10_000)] | None = None


def judgments_of(
    project: Project,
    item: Item,
    order: Sequence[int],
    answers: Sequence[Answer],
    assignment: str,
    annotator: str,
    seconds: float,
    reasons: Sequence[str] = (),
    assistance: str = "",
) -> list[Judgment]:
    """The judgments that an assignment's answers are; ids begin with the assignment's, so repeating changes nothing.

    ``order`` is that in which the item's episodes were shown. Raises InputError for an answer that does not fit its
    question, and when a question that is not optional has none.
    """
    shown = [item.episodes[n] for n in order]
    about: dict[str, Any] = {
        "annotator": annotator,
        "task": item.task.id,
        "shown": hash_shown(*(m.content for m in item.task.messages), *(e.completion for e in shown)),
        "seconds": seconds,
        "guideline": project.guidelines.version,
        "assistance": assistance,
    }
    judgments: list[Judgment] = []
    seen: dict[str, int] = {}
    for answer in answers:
        if answer.question > len(project.questions):
            raise InputError(f"question {answer.question}: the project has {len(project.questions)}.")
        question = project.questions[answer.question - 1]
        key = f"{assignment}-{answer.question}" + ("" if answer.place is None else f"-{answer.place}")
        if question.kind in ("span", "step"):  # as many as there are
            seen[key] = seen.get(key, 0) + 1
            key = f"{key}-{seen[key]}"
        elif key in seen:
            raise InputError(f"question {answer.question} is answered twice.")
        seen[key] = seen.get(key, 0)
        judgments.append(_judgment(question, answer, [e.id for e in shown], {**about, "id": key}))
    answered = {answer.question for answer in answers}
    missing = [n for n, q in enumerate(project.questions, 1) if not q.optional and n not in answered]
    if missing:
        raise InputError(f"question {missing[0]} has no answer.")
    unknown = sorted(set(reasons) - set(project.reasons))
    if unknown:
        raise InputError(f"reason {unknown[0]!r}: the project's are {', '.join(project.reasons) or 'none'}.")
    if reasons:
        ids = tuple(e.id for e in shown)
        text = f"reasons: {', '.join(sorted(reasons))}"
        judgments.append(Comment(**about, id=f"{assignment}-reasons", episodes=ids, text=text))
    return judgments


def _judgment(question: Question, answer: Answer, shown: list[str], about: dict[str, Any]) -> Judgment:
    ids = tuple(shown)
    if question.kind == "comparison":
        verdict = _need(answer, "verdict")
        return Comparison(**about, episodes=ids, verdict=verdict, strength=answer.strength or 0, axis=question.axis)
    if question.kind == "ranking":
        return Ranking(**about, episodes=ids, ranks=tuple(_need(answer, "ranks")), axis=question.axis)
    if question.kind == "demonstration":
        return Demonstration(**about, episodes=(), text=_need(answer, "text"))
    place = _need(answer, "place")
    if place >= len(shown):
        raise InputError(f"question {answer.question}: place {place}, but {len(shown)} answers are shown.")
    one = (shown[place],)
    if question.kind == "rating":
        return Rating(**about, episodes=one, value=_need(answer, "value"), axis=question.axis)
    if question.kind == "step":
        return StepMark(**about, episodes=one, step=_need(answer, "step"), value=_need(answer, "value"))
    if question.kind == "correction":
        return Correction(**about, episodes=one, text=_need(answer, "text"))
    if question.kind == "comment":
        return Comment(**about, episodes=one, text=_need(answer, "text"))
    choice, values = _need(answer, "choice"), [category.value for category in question.values]
    if choice not in values:
        raise InputError(f"question {answer.question}: choice {choice!r}; it should be one of {', '.join(values)}.")
    if question.kind == "label":
        return Label(**about, episodes=one, name=str(question.name), value=choice)
    start, end = _need(answer, "start"), _need(answer, "end")
    return SpanMark(**about, episodes=one, start=start, end=end, category=choice, severity=answer.severity or 1)


def _need(answer: Answer, field: str) -> Any:
    value = getattr(answer, field)
    if value is None:
        raise InputError(f"question {answer.question}: the field {field!r} is missing.")
    return value
