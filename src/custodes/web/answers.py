"""The answers to a project's questions become judgments, checked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custodes.feedback.items import Item
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.project import Project
from custodes.feedback.questions import Answer
from custodes.types import Episode, InputError, Judgment, hash_shown


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
) -> tuple[list[Judgment], list[Episode]]:
    """The judgments that an assignment's answers are, and the answers that people made and others judge later.

    Ids begin with the assignment's, so repeating changes nothing. ``order`` is that in which the item's episodes were
    shown. Raises InputError for an answer that does not fit its question, and when a question that is not optional has
    none.
    """
    shown = [item.episodes[n] for n in order]
    besides = [text for text in item.told(order, bool(assistance)) if text]
    about: dict[str, Any] = {
        "annotator": annotator,
        "task": item.task.id,
        "shown": hash_shown(*(m.content for m in item.task.messages), *besides, *(e.completion for e in shown)),
        "seconds": seconds,
        "guideline": project.guidelines.version,
        "assistance": assistance,
    }
    judgments: list[Judgment] = []
    made: list[Episode] = []
    seen: dict[str, int] = {}
    for answer in answers:
        if answer.question > len(project.questions):
            raise InputError(f"question {answer.question}: the project has {len(project.questions)}.")
        question = project.questions[answer.question - 1]
        key = f"{assignment}-{answer.question}" + ("" if answer.place is None else f"-{answer.place}")
        seen[key] = seen.get(key, 0) + 1
        if question.repeats:
            key = f"{key}-{seen[key]}"
        elif seen[key] > 1:
            raise InputError(f"question {answer.question} is answered twice.")
        judgments += question.judge(answer, shown, {**about, "id": key})
        made += question.new_episodes(answer, shown, annotator)
    _complete(project, answers, len(shown))
    unknown = sorted(set(reasons) - set(project.reasons))
    if unknown:
        raise InputError(f"reason {unknown[0]!r}: the project's are {', '.join(project.reasons) or 'none'}.")
    if reasons:
        ids = tuple(e.id for e in shown)
        text = f"reasons: {', '.join(sorted(reasons))}"
        judgments.append(Comment(**about, id=f"{assignment}-reasons", episodes=ids, text=text))
    return judgments, made


def _complete(project: Project, answers: Sequence[Answer], shown: int) -> None:
    """Every question that is not optional is answered, ratings and labels of every answer that is shown."""
    answered = {(answer.question, answer.place) for answer in answers}
    for number, question in enumerate(project.questions, 1):
        if question.optional:
            continue
        if number not in {n for n, _ in answered}:
            raise InputError(f"question {number} has no answer.")
        for place in range(shown if question.of_each else 0):
            if (number, place) not in answered:
                raise InputError(f"question {number} has no answer for place {place}.")
