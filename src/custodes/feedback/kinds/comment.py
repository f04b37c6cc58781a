"""What somebody writes about an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from custodes.feedback.questions import AnswerForm, Question
from custodes.registry import kind
from custodes.types import Judgment


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Judgment):
    """Language feedback on one episode."""

    kind = "comment"

    text: str


@kind
class CommentQuestion(Question):
    """A text about any of the answers."""

    judgment = Comment
    missing = "write a comment."
    row = ".0"

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        texts = [form.values.get(f"q{number}.{place}", "").strip() for place in range(len(form.texts))]
        return [{"place": place, "text": text} for place, text in enumerate(texts) if text]
