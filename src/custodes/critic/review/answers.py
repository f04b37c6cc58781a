"""Answers of assistants as things to review: a file of prompts and answers, every answer a piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from custodes.critic.review.snippets import Problem, Snippet
from custodes.dialogue import text_or_messages, write_dialogue
from custodes.types import InputError, Message


def read_answers(path: Path) -> dict[str, Snippet]:
    """``FILE#ROW`` -> the answer of that row, counted from 1, with what was asked.

    A row has ``prompt`` (text or messages, may be missing) and ``answer`` or ``completion`` (text or messages). Raises
    InputError that names the row for one that has no answer.
    """
    from custodes.tables import read_rows  # slow to import, and a review of code needs nothing of it

    found = {}
    for row in read_rows(path):
        given = row.values.get("answer", row.values.get("completion"))
        try:
            prompt, answer = text_or_messages(row.values.get("prompt", "")), text_or_messages(given)
        except ValueError as error:
            raise InputError(f"{row.place}: {error}; a row has prompt and answer.") from None
        name = f"{path}#{row.number}"
        found[name] = as_asked(prompt, answer, name)
    return found


def as_asked(prompt: str | tuple[Message, ...], answer: str | tuple[Message, ...], name: str = "") -> Snippet:
    """What the assistant said last in ``answer``, with the conversation so far; a single question as it is."""
    if not isinstance(answer, str):
        answer = next((m.content for m in reversed(answer) if m.role == "assistant"), "")
    if not isinstance(prompt, str):
        prompt = prompt[0].content if len(prompt) == 1 else write_dialogue(prompt).strip()
    return Snippet(name, 1, answer, "answer", prompt, "answer")


def cutter(answers: Mapping[str, Snippet]) -> Callable[[str, str], tuple[list[Snippet], list[Problem]]]:
    """What :func:`~custodes.critic.review.flow.review` takes to cut files: every answer in one piece."""
    return lambda file, text: ([answers[file]] if text.strip() else [], [])
