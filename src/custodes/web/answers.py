"""What comes back from a screen becomes judgments: answers to a project's questions, checked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from custodes.feedback.items import Item
from custodes.feedback.project import Project, Question
from custodes.feedback.steps import steps_of
from custodes.types import (
    Comment,
    Comparison,
    Correction,
    Demonstration,
    Episode,
    InputError,
    Judgment,
    Label,
    Message,
    Ranking,
    Rating,
    SpanMark,
    StepMark,
    Verdict,
    hash_shown,
)
from custodes.web.fields import restored

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
    description: Text | None = None
    """Of tampers: the inserted bug, as a reviewer who caught it would describe it."""
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
    besides = [text for text in (item.reference, assistance and item.assistance and item.assistance.text) if text]
    about: dict[str, Any] = {
        "annotator": annotator,
        "task": item.task.id,
        "shown": hash_shown(*(m.content for m in item.task.messages), *besides, *(e.completion for e in shown)),
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
        if question.kind == "correction" and question.optional and not _edited(answer, shown):
            continue
        if question.kind == "tamper":
            judgments += _tamper(item, answer, {**about, "id": key})
        else:
            judgments.append(_judgment(question, answer, shown, {**about, "id": key}))
    _complete(project, answers, len(shown))
    unknown = sorted(set(reasons) - set(project.reasons))
    if unknown:
        raise InputError(f"reason {unknown[0]!r}: the project's are {', '.join(project.reasons) or 'none'}.")
    if reasons:
        ids = tuple(e.id for e in shown)
        text = f"reasons: {', '.join(sorted(reasons))}"
        judgments.append(Comment(**about, id=f"{assignment}-reasons", episodes=ids, text=text))
    return judgments


def _edited(answer: Answer, shown: Sequence[Episode]) -> bool:
    """Whether a correction is another text than the answer that it is about."""
    place = answer.place or 0
    return place >= len(shown) or restored(shown[place].completion, answer.text or "") != shown[place].completion


def new_episodes(project: Project, item: Item, answers: Sequence[Answer], annotator: str) -> list[Episode]:
    """Answers that people made and that are judged by others later: the code into which they put a bug."""
    found = []
    for answer in answers:
        if project.questions[answer.question - 1].kind == "tamper":
            text = restored(item.episodes[0].completion, _need(answer, "text"))
            code = (*item.task.messages, Message("assistant", text))
            nothing = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
            found.append(Episode(_tampered(item, answer), item.task, code, *nothing, "stop", f"tamper by {annotator}"))
    return found


def _complete(project: Project, answers: Sequence[Answer], shown: int) -> None:
    """Every question that is not optional is answered, ratings and labels of every answer that is shown."""
    answered = {(answer.question, answer.place) for answer in answers}
    for number, question in enumerate(project.questions, 1):
        if question.optional:
            continue
        if number not in {n for n, _ in answered}:
            raise InputError(f"question {number} has no answer.")
        if question.kind in ("rating", "label"):
            for place in range(shown):
                if (number, place) not in answered:
                    raise InputError(f"question {number} has no answer for place {place}.")


def _tamper(item: Item, answer: Answer, about: dict[str, Any]) -> list[Judgment]:
    """A tamper as judgments of the tampered code: corrected, it is the code as it was; and what is wrong with it.

    So whoever learns from corrections learns the right direction.
    """
    original, description = item.episodes[0], _need(answer, "description")
    if restored(original.completion, _need(answer, "text")) == original.completion:
        raise InputError(f"question {answer.question}: the code is as it was; put a bug into it.")
    about |= {"episodes": (_tampered(item, answer),)}
    told = {**about, "id": f"{about['id']}-description"}
    return [Correction(**about, text=original.completion), Comment(**told, text=description)]


def _tampered(item: Item, answer: Answer) -> str:
    return f"episode-{hash_shown('tamper', item.episodes[0].id, str(answer.text))[:24]}"


def _judgment(question: Question, answer: Answer, shown: list[Episode], about: dict[str, Any]) -> Judgment:
    ids = tuple(episode.id for episode in shown)
    if question.kind == "comparison":
        verdict = _need(answer, "verdict")
        return Comparison(**about, episodes=ids, verdict=verdict, strength=answer.strength or 0, axis=question.axis)
    if question.kind == "ranking":
        return Ranking(**about, episodes=ids, ranks=tuple(_need(answer, "ranks")), axis=question.axis)
    if question.kind == "demonstration":
        return Demonstration(**about, episodes=(), text=_need(answer, "text"))
    if question.kind == "critique":
        return _critique(answer, shown, about)
    place = _need(answer, "place")
    if place >= len(shown):
        raise InputError(f"question {answer.question}: place {place}, but {len(shown)} answers are shown.")
    one = (ids[place],)
    if question.kind == "rating":
        return Rating(**about, episodes=one, value=_need(answer, "value"), axis=question.axis)
    if question.kind == "step":
        step, steps = _need(answer, "step"), len(steps_of(shown[place].completion))
        if step >= steps:
            raise InputError(f"question {answer.question}: step {step}; the answer has {steps} steps, counted from 0.")
        return StepMark(**about, episodes=one, step=step, value=_need(answer, "value"))
    if question.kind == "correction":
        return Correction(**about, episodes=one, text=restored(shown[place].completion, _need(answer, "text")))
    if question.kind == "comment":
        return Comment(**about, episodes=one, text=_need(answer, "text"))
    choice, values = _need(answer, "choice"), [category.value for category in question.values]
    if choice not in values:
        raise InputError(f"question {answer.question}: choice {choice!r}; it should be one of {', '.join(values)}.")
    if question.kind == "label":
        return Label(**about, episodes=one, name=str(question.name), value=choice)
    start, end, length = _need(answer, "start"), _need(answer, "end"), len(shown[place].completion)
    if end > length:
        raise InputError(f"question {answer.question}: the span ends at {end:,}; the answer has {length:,} characters.")
    return SpanMark(**about, episodes=one, start=start, end=end, category=choice, severity=answer.severity or 1)


def _critique(answer: Answer, shown: list[Episode], about: dict[str, Any]) -> Judgment:
    """Written from nothing, a demonstration; from the critique that was shown, its correction, with who wrote that."""
    text = _need(answer, "text")
    if not shown:
        return Demonstration(**about, episodes=(), text=text)
    about = {**about, "assistance": shown[0].policy}
    return Correction(**about, episodes=(shown[0].id,), text=restored(shown[0].completion, text))


def _need(answer: Answer, field: str) -> Any:
    value = getattr(answer, field)
    if value is None:
        raise InputError(f"question {answer.question}: the field {field!r} is missing.")
    return value
