"""Public sets in which the steps or the spans of an answer were marked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from custodes.dialogue import Messages, as_completion
from custodes.feedback.forms.prompts import asked, only_text
from custodes.feedback.forms.source import SKIP, Source, bad, items, number, part, text, truth, who
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark, steps_of
from custodes.tables import Row
from custodes.types import Message


def stepwise(row: Row, source: Source) -> None:
    """TRL's stepwise supervision: ``completions`` are the steps of one answer, ``labels`` whether each is right."""
    steps, given = items(row, "completions", 1), items(row, "labels")
    if not only_text(steps) or len(steps) != len(given):
        raise bad(row, "labels", f"{len(given)} labels of {len(steps)} steps; give one each ({SKIP}).")
    marks = [truth(Row(row.path, row.number, {"labels": one}), "labels") for one in given]
    _mark(
        source,
        asked(row, source) or (),
        steps,
        {n: 1 if right else -1 for n, right in enumerate(marks)},
        who(row, "annotator"),
    )


def prm800k(row: Row, source: Source) -> None:
    """PRM800K (arXiv 2305.20050): the steps that were taken, each with its ratings, and the alternatives to each."""
    problem, label = part(row, "question").get("problem"), part(row, "label")
    rounds = label.get("steps")
    if not isinstance(problem, str) or not isinstance(rounds, list):
        raise bad(row, "label", f"it should hold steps, and the question a problem ({SKIP}).")
    prompt, by = (Message("user", problem),), who(row, "labeler")
    taken: list[str] = []
    marks: dict[int, int] = {}
    for one in rounds:
        choices = [c for c in one.get("completions") or [] if isinstance(c, dict) and isinstance(c.get("text"), str)]
        chosen = one.get("chosen_completion")
        for n, choice in enumerate(choices):
            if n != chosen and choice.get("rating") in (-1, 0, 1):
                _mark(source, prompt, [*taken, choice["text"]], {len(taken): choice["rating"]}, by)
        own = one.get("human_completion")
        if isinstance(chosen, int) and 0 <= chosen < len(choices):
            if choices[chosen].get("rating") in (-1, 0, 1):
                marks[len(taken)] = choices[chosen]["rating"]
            taken.append(choices[chosen]["text"])
        elif own:
            source.assume("a step that the labeler wrote stands where none was chosen, without a mark")
            taken.append(own["text"] if isinstance(own, dict) else str(own))
        else:
            break
    if marks:
        _mark(source, prompt, taken, marks, by)


def step_mistakes(row: Row, source: Source) -> None:
    """BIG-Bench-Mistake (arXiv 2311.08516): ``mistake_index`` is the first wrong step, from 0; none where all are right."""
    steps, wrong = items(row, "steps", 1), row.values.get("mistake_index")
    if not only_text(steps):
        raise bad(row, "steps", f"it should be a list of texts ({SKIP}).")
    marks = dict.fromkeys(range(len(steps)), 1)
    if wrong is not None:
        wrong = int(number(row, "mistake_index", 0, len(steps) - 1))
        marks = dict.fromkeys(range(wrong), 1) | {wrong: -1}
    _mark(source, (Message("user", text(row, "input")),), steps, marks, "")


def fine_grained(row: Row, source: Source) -> None:
    """Fine-grained RLHF (arXiv 2306.01693): spans of prediction 1 with errors, its correction, and six comparisons."""
    source.assume("the prompt is the question, without its passages")
    answers = [as_completion(text(row, f"prediction {n}")) for n in range(1, 5)]
    prompt, feedback = (Message("user", text(row, "question")),), part(row, "feedback")
    for error in feedback.get("errors") or []:
        start, end = error.get("start"), error.get("end")
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(answers[0][0].content):
            raise bad(row, "feedback", f"an error from {start} to {end} is no part of prediction 1 ({SKIP}).")
        source.say(SpanMark, prompt, answers[:1], start=start, end=end, category=str(error.get("error type", "error")))
    for missing in feedback.get("missing-info") or []:
        source.say(Label, prompt, answers[:1], name="missing", value=str(missing.get("error type", "")))
    if feedback.get("corrected-prediction"):
        source.say(Correction, prompt, answers[:1], text=feedback["corrected-prediction"])
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    said = row.values.get("preference") or []
    if said and (len(said) != 6 or not all(one in (0, 1, 2) for one in said)):
        raise bad(row, "preference", f"{said}; it should be six of 0, 1 and 2 ({SKIP}).")
    for (a, b), one in zip(pairs, said, strict=False):
        strength = {0: 0, 1: 1, 2: -1}[one]
        verdict = "prefer" if strength else "tie"
        source.compare(Comparison, prompt, (answers[a], answers[b]), strength=strength, verdict=verdict)


def _mark(source: Source, prompt: Messages, steps: Sequence[str], marks: dict[int, int], by: str) -> None:
    """A step mark for each of ``marks`` on the answer that the steps make together."""
    answer = (as_completion(_joined(steps)),)
    for step, value in marks.items():
        source.say(StepMark, prompt, answer, step=step, value=value, annotator=by)


def _joined(steps: Sequence[str]) -> str:
    """One text whose steps, as :func:`~custodes.feedback.kinds.step.steps_of` counts them, are these: blank lines inside a step
    are closed, and the lines of an only step are one."""
    whole = [re.sub(r"\s*\n\s*\n\s*", "\n", step.strip()) or "..." for step in steps]
    words = "\n\n".join(whole)
    return words if len(steps_of(words)) == len(steps) else "\n\n".join(" ".join(step.split()) for step in whole)
