"""What an answer should have been: an edit of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custodes.feedback.collection import completion_of, imitated, judged_episode
from custodes.feedback.fields import restored
from custodes.feedback.questions import Answer, AnswerForm, Question
from custodes.registry import kind
from custodes.types import Episode, Example, Judgment, Message, PreferencePair, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Judgment):
    """The annotator's edit of one episode's completion into what it should have been."""

    kind = "correction"

    text: str

    def pairs(
        self, episodes: Mapping[str, Episode], worse: Mapping[tuple[str, str], Sequence[str]]
    ) -> list[PreferencePair]:
        """Edited over as it was, and over what its editor found worse than that; none where nothing was changed."""
        original = judged_episode(episodes, self.episodes[0])
        if self.text.splitlines() == original.completion.splitlines():  # a browser's field has line ends of its own
            return []
        edited = (*completion_of(original)[:-1], Message("assistant", self.text))
        below = [judged_episode(episodes, id_) for id_ in worse.get((self.annotator, original.id), ())]
        return [
            PreferencePair(original.task.messages, edited, completion_of(one), annotator=self.annotator)
            for one in (original, *below)
        ]

    def examples(self, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> list[Example]:
        return [imitated(self, self.text, tasks)]


@kind
class CorrectionQuestion(Question):
    """The answer edited to what would be ideal."""

    judgment = Correction

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        """Texts that were changed; where the question must be answered and nothing is wrong, the text as it is."""
        edited = [restored(text, form.values.get(f"q{number}.{n}", text)) for n, text in enumerate(form.texts)]
        kept = [n for n, text in enumerate(edited) if text.strip() and (text != form.texts[n] or not self.optional)]
        return [{"place": place, "text": edited[place]} for place in kept]

    def judge(self, answer: Answer, shown: Sequence[Episode], about: dict[str, Any]) -> list[Judgment]:
        original, text = self.place(answer, shown).completion, self.given(answer)["text"]
        return [] if self.optional and restored(original, text) == original else super().judge(answer, shown, about)

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        return {"text": restored(shown[0].completion, given["text"])}
