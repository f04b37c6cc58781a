"""An answer of a person's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from custodes.feedback.collection import imitated
from custodes.feedback.questions import AnswerForm, Question
from custodes.registry import kind
from custodes.types import Episode, Example, Judgment, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration(Judgment):
    """The annotator's own answer to a task; ``episodes`` is empty."""

    kind = "demonstration"

    text: str

    def examples(self, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> list[Example]:
        return [imitated(self, self.text, tasks)]


@kind
class DemonstrationQuestion(Question):
    """The answer that the person would give."""

    judgment = Demonstration
    about = "none"
    shows = 0
    bare = True
    missing = "write the answer that you would give."

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        text = form.values.get(f"q{number}", "").strip()
        return [{"text": text}] if text else []
