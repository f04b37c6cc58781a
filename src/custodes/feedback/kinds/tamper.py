"""A bug that a person puts into code, and its description: recorded as a correction and a comment of the tampered code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custodes.feedback.fields import restored
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.questions import Answer, AnswerForm, Incomplete, Question
from custodes.registry import kind
from custodes.types import Episode, InputError, Judgment, Message, hash_shown


@kind
class TamperQuestion(Question):
    """One subtle bug, put into the code that is shown."""

    judgment = Correction
    takes = ("text", "description")
    by_itself = True

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        name = f"q{number}"
        code, description = form.values.get(name, ""), form.values.get(f"{name}.description", "").strip()
        if not code and not description and self.optional:
            return []
        if not code or restored(form.texts[0], code) == form.texts[0]:
            raise Incomplete("the code is as it was; put a bug into it.", name)
        if not description:
            raise Incomplete("describe the bug.", f"{name}.description")
        return [{"text": code, "description": description}]

    def judge(self, answer: Answer, shown: Sequence[Episode], about: dict[str, Any]) -> list[Judgment]:
        """Corrected, the tampered code is as it was: so whoever learns from corrections learns the right direction."""
        if not shown:
            raise InputError(
                f"question {answer.question}: no code is shown; ask for tampers in a project of their own."
            )
        original, given = shown[0].completion, self.given(answer)
        if restored(original, given["text"]) == original:
            raise InputError(f"question {answer.question}: the code is as it was; put a bug into it.")
        about = {**about, "episodes": (_id(given, shown),)}
        described = {**about, "id": f"{about['id']}-description"}
        return [Correction(**about, text=original), Comment(**described, text=given["description"])]

    def new_episodes(self, answer: Answer, shown: Sequence[Episode], annotator: str) -> list[Episode]:
        task, given = shown[0].task, self.given(answer)
        code = (*task.messages, Message("assistant", restored(shown[0].completion, given["text"])))
        return [Episode.written(_id(given, shown), task, code, f"tamper by {annotator}")]


def _id(given: dict[str, Any], shown: Sequence[Episode]) -> str:
    return f"episode-{hash_shown('tamper', shown[0].id, given['text'])[:24]}"
