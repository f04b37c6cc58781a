"""Which category an answer falls into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from custodes.feedback.collection import LABEL, completion_of, judged_episode
from custodes.feedback.questions import Answer, AnswerForm, CategoryQuestion, Name
from custodes.registry import kind
from custodes.types import Episode, Example, Judgment, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Judgment):
    """A category given to one episode, e.g. ``name="acceptable", value="yes"``."""

    kind = "label"
    columns: ClassVar[Mapping[str, str]] = {"value": "label"}
    form = "choice"

    name: str
    value: str

    def examples(self, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> list[Example]:
        """A labelled completion, where the label is named ``LABEL``."""
        if self.name != LABEL:
            return []
        episode = judged_episode(episodes, self.episodes[0])
        about: Any = {"label": self.value == "yes", "annotator": self.annotator}
        return [Example(episode.task.messages, completion_of(episode), **about)]

    def known(self, gold: Mapping[str, Any]) -> Any:
        return gold.get("labels", {}).get(self.name)

    def is_right(self, known: Any) -> bool | None:
        return bool(self.value == known)

    def stance(self) -> object:
        return self.value

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        return self.name, self.value


@kind
class LabelQuestion(CategoryQuestion):
    """One of several values for each answer."""

    judgment = Label
    takes = ("choice",)
    of_each = True
    twice = True

    name: Name | None = None
    """What is labelled."""

    def problem(self) -> str:
        named = self.name is not None and len(self.values) > 1
        return "" if named else "a label needs a name and at least two values"

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        return [{"place": place, "choice": value} for place, value in form.each_place(number, "a label")]

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        return {"name": self.name, "value": self.choice(answer, given["choice"])}
