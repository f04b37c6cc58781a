"""What is entered on a work screen: values by name, and the answers that they are.

All values are text, because the browser keeps them under the same names until they are saved. ``q2`` is the value of
question 2, ``q2.0`` that about the first answer shown, ``q2.0.3`` that about its fourth step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custodes.feedback.critique import parse
from custodes.feedback.steps import steps_of
from custodes.web.answers import Answer
from custodes.web.fields import restored, stored_place

REASONS = "reasons"
MOST = 200
"""Passages marked in an answer."""
LETTERS = "ABCD"
"""What the answers on a screen are called."""


class Incomplete(Exception):  # noqa: N818 (not an error: something is still to be done)
    """What is still to be answered, as a sentence for the person, and the name of its row."""

    def __init__(self, sentence: str, row: str) -> None:
        super().__init__(sentence)
        self.row = row


@dataclass
class Sheet:
    """The values of one item's screen. ``item`` is what :func:`custodes.web.work.claim` gives."""

    item: Mapping[str, Any]
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Sheet:
        """An item's sheet, as far as its draft was filled in."""
        draft = item["draft"] or {}
        values = draft.get("values", {})
        return cls(item, {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {})

    @property
    def texts(self) -> list[str]:
        """The answers shown, as characters are counted in them: the last message of each that is an assistant's."""
        return [
            next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), "")
            for messages in self.item["answers"]
        ]

    @property
    def reasons(self) -> list[str]:
        return [str(one) for one in self._listed(REASONS)]

    def marks(self, name: str) -> list[tuple[int, int, Any, Any]]:
        """What is marked in an answer's field: first and after the last character, category, severity."""
        length = max(map(len, self.texts), default=0)
        found = [m for m in self._listed(name) if isinstance(m, list) and len(m) == 4]
        return [
            tuple(m) for m in found if isinstance(m[0], int) and isinstance(m[1], int) and 0 <= m[0] < m[1] <= length
        ]

    def _listed(self, name: str) -> list[Any]:
        """A value that is a JSON list, at most ``MOST`` of it; empty for what is none, which a draft may hold."""
        try:
            found = json.loads(self.values.get(name) or "[]")
        except (ValueError, RecursionError):
            return []
        return found[:MOST] if isinstance(found, list) else []

    def answers(self) -> list[Answer]:
        """The answers. Raises Incomplete where a question that is not optional has none."""
        found: list[Answer] = []
        for number, question in enumerate(self.item["questions"], 1):
            try:
                own = READERS[question["kind"]](self, number, question)
            except (ValueError, TypeError):
                raise Incomplete("what was entered here cannot be read; enter it again.", f"q{number}") from None
            if not own and not question["optional"]:
                raise Incomplete("there is a question without an answer.", f"q{number}")
            found += own
        return found

    def draft(self, seconds: float) -> dict[str, Any]:
        return {"values": self.values, "seconds": seconds, "stage": self.item.get("stage")}

    def each_place(self, number: int, question: Mapping[str, Any], what: str) -> list[tuple[int, str]]:
        """(place, value) of a question about every answer; all of them where the question is not optional."""
        found = []
        for place in range(len(self.item["answers"])):
            name = f"q{number}.{place}"
            if value := self.values.get(name, ""):
                found.append((place, value))
            elif not question["optional"]:
                about = f" of answer {LETTERS[place]}" if len(self.item["answers"]) > 1 else ""
                raise Incomplete(f"{what}{about} is missing.", name)
        return found


Reader = Callable[[Sheet, int, Mapping[str, Any]], list[Answer]]


def _comparison(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    value = sheet.values.get(f"q{number}", "")
    if not value:
        if question["optional"]:
            return []
        raise Incomplete("say which answer is better.", f"q{number}")
    if value in ("tie", "both_bad", "cannot_judge"):
        return [Answer(question=number, verdict=value)]  # type: ignore[arg-type]
    return [Answer(question=number, verdict="prefer", strength=int(value))]


def _ranking(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    ranks = sheet.each_place(number, question, "the rank")
    if not ranks:
        return []
    if len(ranks) < len(sheet.item["answers"]):
        raise Incomplete("rank all the answers, or none.", f"q{number}.0")
    return [Answer(question=number, ranks=[int(value) for _, value in ranks])]


def _rating(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    given = sheet.each_place(number, question, "a rating")
    return [Answer(question=number, place=place, value=int(value)) for place, value in given]


def _label(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    given = sheet.each_place(number, question, "a label")
    return [Answer(question=number, place=place, choice=value) for place, value in given]


def _correction(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    """Texts that were changed; where the question must be answered and nothing is wrong, the text as it is."""
    texts = dict(enumerate(sheet.texts))
    given = {place: restored(text, sheet.values.get(f"q{number}.{place}", text)) for place, text in texts.items()}
    kept = {p: t for p, t in given.items() if t.strip() and (t != texts[p] or not question["optional"])}
    return [Answer(question=number, place=place, text=text) for place, text in kept.items()]


def _comment(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    texts = {place: sheet.values.get(f"q{number}.{place}", "").strip() for place in range(len(sheet.item["answers"]))}
    found = [Answer(question=number, place=place, text=text) for place, text in texts.items() if text]
    if not found and not question["optional"]:
        raise Incomplete("write a comment.", f"q{number}.0")
    return found


def _demonstration(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    text = sheet.values.get(f"q{number}", "").strip()
    if not text and not question["optional"]:
        raise Incomplete("write the answer that you would give.", f"q{number}")
    return [Answer(question=number, text=text)] if text else []


def _span(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    found = []
    for place, text in enumerate(sheet.texts):
        for start, end, category, severity in sheet.marks(f"q{number}.{place}"):
            first, last = stored_place(text, start), stored_place(text, end)
            found.append(
                Answer(question=number, place=place, start=first, end=last, choice=category, severity=severity)
            )
    if not found and not question["optional"]:
        raise Incomplete("mark at least one passage.", f"q{number}.0")
    return found


def _step(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    """A mark per step; in the mode of the first error, good before it, bad there, and nothing about what follows."""
    found = []
    for place, text in enumerate(sheet.texts):
        name, steps = f"q{number}.{place}", len(steps_of(text))
        if sheet.values.get(f"{name}.mode") == "first":
            first = sheet.values.get(f"{name}.first", "")
            marks = {} if not first else dict.fromkeys(range(steps if first == "none" else min(int(first), steps)), 1)
            if first not in ("", "none"):
                marks[int(first)] = -1
            complete = bool(first)
        else:
            given = {step: sheet.values.get(f"{name}.{step}", "") for step in range(steps)}
            marks = {step: int(value) for step, value in given.items() if value}
            complete = len(marks) == steps
        if not complete and not question["optional"]:
            raise Incomplete("not every step is marked.", name)
        found += [Answer(question=number, place=place, step=step, value=value) for step, value in marks.items()]
    return found


def _tamper(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    name = f"q{number}"
    code, description = sheet.values.get(name, ""), sheet.values.get(f"{name}.description", "").strip()
    if not code and not description and question["optional"]:
        return []
    if not code or restored(sheet.texts[0], code) == sheet.texts[0]:
        raise Incomplete("the code is as it was; put a bug into it.", name)
    if not description:
        raise Incomplete("describe the bug.", f"{name}.description")
    return [Answer(question=number, text=code, description=description)]


def _critique(sheet: Sheet, number: int, question: Mapping[str, Any]) -> list[Answer]:
    name = f"q{number}"
    text = critique_in(sheet, name)
    critique = parse(text)
    if not critique.findings and not critique.opening:
        if question["optional"]:
            return []
        raise Incomplete("quote what is wrong, or say that you found nothing.", name)
    for n, finding in enumerate(critique.findings, 1):
        if not finding.comment:
            raise Incomplete(f"finding {n} has no comment: say what is wrong there.", name)
    return [Answer(question=number, text=text, place=0 if sheet.texts else None)]


def critique_in(sheet: Sheet, name: str) -> str:
    """The critique of a sheet as it is now: what was entered, or the given one as it came."""
    entered, given = sheet.values.get(name), sheet.texts[0] if sheet.texts else ""
    return given if entered is None or restored(given, entered) == given else entered.strip()


READERS: dict[str, Reader] = {
    "comparison": _comparison,
    "ranking": _ranking,
    "rating": _rating,
    "label": _label,
    "correction": _correction,
    "comment": _comment,
    "demonstration": _demonstration,
    "span": _span,
    "step": _step,
    "tamper": _tamper,
    "critique": _critique,
}
"""How the values of each kind of question become answers."""
