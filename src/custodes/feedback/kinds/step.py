"""Which steps of an answer are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from custodes.feedback.questions import Answer, AnswerForm, Incomplete, Question
from custodes.registry import kind
from custodes.types import Episode, InputError, Judgment

MOST = 200
"""Steps of an answer; all that follows belongs to the last one."""
_FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMark(Judgment):
    """Process supervision: step number ``step`` (from 0) is good (+1), neutral (0) or bad (-1)."""

    kind = "step_mark"
    form = "choice"

    step: int
    value: int

    def __post_init__(self) -> None:
        if self.step < 0 or self.value not in (-1, 0, 1):
            raise InputError(
                f"step mark {self.id}: step {self.step}, value {self.value}; give step >= 0 and value -1, 0 or 1."
            )

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        return f"step-{self.step}", {1: "good", 0: "neutral", -1: "bad"}[self.value]


@kind
class StepQuestion(Question):
    """A mark for each step of each answer."""

    judgment = StepMark
    takes = ("step", "value")
    repeats = True

    def read(self, form: AnswerForm, number: int) -> list[dict[str, Any]]:
        """A mark per step; in the mode of the first error, good before it, bad there, and nothing about what follows."""
        answers: list[dict[str, Any]] = []
        for place, text in enumerate(form.texts):
            name, steps = f"q{number}.{place}", len(steps_of(text))
            if form.values.get(f"{name}.mode") == "first":
                first = form.values.get(f"{name}.first", "")
                marks = (
                    {} if not first else dict.fromkeys(range(steps if first == "none" else min(int(first), steps)), 1)
                )
                if first not in ("", "none"):
                    marks[int(first)] = -1
                complete = bool(first)
            else:
                given = {step: form.values.get(f"{name}.{step}", "") for step in range(steps)}
                marks = {step: int(value) for step, value in given.items() if value}
                complete = len(marks) == steps
            if not complete and not self.optional:
                raise Incomplete("not every step is marked.", name)
            answers += [{"place": place, "step": step, "value": value} for step, value in marks.items()]
        return answers

    def own_fields(self, answer: Answer, given: dict[str, Any], *shown: Episode) -> dict[str, Any]:
        steps, step = len(steps_of(shown[0].completion)), given["step"]
        if isinstance(step, int) and step >= steps:
            raise InputError(f"question {answer.question}: step {step}; the answer has {steps} steps, counted from 0.")
        return given


def steps_of(text: str) -> list[str]:
    """The steps of an answer, in order; together they are its text but for the blank lines between them.

    Paragraphs, with a fenced block of code kept whole and with what introduces it; where there is only one paragraph,
    its lines. The number of a step mark is the place in this list, from 0. There are at most ``MOST``.
    """
    paragraphs: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        if (found := _FENCE.match(line)) and (not fence or found[1] == fence):
            fence = "" if fence else found[1]
        if line.strip() or fence:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    whole = [lines for lines in paragraphs if lines]
    if len(whole) == 1 and not any(_FENCE.match(line) for line in whole[0]):
        return _at_most([line.strip() for line in whole[0]], "\n")
    return _at_most(["\n".join(lines) for lines in whole], "\n\n")


def step_ends(text: str) -> list[int]:
    """(steps,) where each step of :func:`steps_of` ends in the text, in characters."""
    ends, place = [], 0
    for step in steps_of(text):
        for line in filter(None, map(str.strip, step.splitlines())):
            place = text.index(line, place) + len(line)
        ends.append(place)
    return ends


def _at_most(steps: list[str], between: str) -> list[str]:
    return steps if len(steps) <= MOST else [*steps[: MOST - 1], between.join(steps[MOST - 1 :])]


def joined_steps(steps: Sequence[str]) -> str:
    """One text whose steps, as :func:`steps_of` counts them, are these.

    Blank lines inside a step are closed, and the lines of an only step are one.
    """
    whole = [re.sub(r"\s*\n\s*\n\s*", "\n", step.strip()) or "..." for step in steps]
    text = "\n\n".join(whole)
    return text if len(steps_of(text)) == len(steps) else "\n\n".join(" ".join(step.split()) for step in whole)
