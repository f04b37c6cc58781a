"""A critique of code: written from nothing it is a demonstration, from a given one that one's correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custodes.feedback.critique import parse_critique
from custodes.feedback.fields import restored
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.questions import Answer, AnswerForm, Incomplete, Proportion, Question
from custodes.registry import kind
from custodes.types import Episode, Judgment


@kind
class CritiqueQuestion(Question):
    """Findings, each a quote of the code and a comment."""

    judgment = Correction
    bare = True
    by_itself = True
    missing = "quote what is wrong, or say that you found nothing."

    prefilled: Proportion | None = None
    """How often the given critique is there to begin from; otherwise the person begins from nothing."""

    @property
    def given_share(self) -> float:
        return 1.0 if self.prefilled is None else self.prefilled

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        name = f"q{number}"
        text = critique_in(form, name)
        critique = parse_critique(text)
        if not critique.findings and not critique.opening:
            return []
        for n, finding in enumerate(critique.findings, 1):
            if not finding.comment:
                raise Incomplete(f"finding {n} has no comment: say what is wrong there.", name)
        return [{"text": text, "place": 0 if form.texts else None}]

    def judge(self, answer: Answer, shown: Sequence[Episode], about: dict[str, Any]) -> list[Judgment]:
        """With who wrote the given critique as the help that was shown."""
        text = self.given(answer)["text"]
        if not shown:
            return [Demonstration(**about, episodes=(), text=text)]
        about = {**about, "assistance": shown[0].policy, "episodes": (shown[0].id,)}
        return [Correction(**about, text=restored(shown[0].completion, text))]


def critique_in(form: AnswerForm, name: str) -> str:
    """The critique of a form as it is now: what was entered, or the given one as it came."""
    entered, given = form.values.get(name), form.texts[0] if form.texts else ""
    return given if entered is None or restored(given, entered) == given else entered.strip()
