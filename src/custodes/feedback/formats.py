"""Preference data and examples as the rest of the field reads and writes them.

Reading knows every form of :mod:`custodes.feedback.forms`. Pairs are written as lists of messages, as text, or as raw dialogues.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from custodes.dialogue import Messages, write_dialogue
from custodes.feedback.reading import read_feedback
from custodes.tables import write_rows
from custodes.types import Example, InputError, PreferencePair

PairForm = Literal["conversational", "text", "dialogue"]


def read_preferences(path: str | Path, *, skip_bad_rows: bool = False) -> list[PreferencePair]:
    """Reads training pairs from feedback in any form; what was assumed or left out is said as warnings.

    Raises InputError naming file, row and field for a row that cannot be used; with ``skip_bad_rows`` such rows are left
    out. A dialogue ("\\n\\nHuman:") whose last answer is empty is a model that said nothing: it is kept, and said.
    """
    found = read_feedback(path, skip_bad_rows=skip_bad_rows)
    pairs = found.pairs()
    found.warn()
    return pairs


def write_preferences(path: str | Path, pairs: Iterable[PreferencePair], form: PairForm = "conversational") -> Path:
    """Writes pairs as message lists, as text, or as raw dialogues; optional columns where they say something.

    The text form holds a single user message and single answers. Raises InputError naming the pair that does not fit.
    """
    return write_rows(path, (_pair_row(pair, n, form) for n, pair in enumerate(pairs, 1)))


def write_completions(path: str | Path, examples: Iterable[Example]) -> Path:
    """Writes ``prompt`` and ``completion`` as message lists, with ``label``, ``weight`` and ``annotator`` where given."""
    return write_rows(
        path,
        (
            {"prompt": _dicts(e.prompt), "completion": _dicts(e.completion)}
            | {k: v for k, v in (("label", e.label), ("annotator", e.annotator or None)) if v is not None}
            | ({"weight": e.weight} if e.weight != 1.0 else {})
            for e in examples
        ),
    )


def _pair_row(pair: PreferencePair, number: int, form: PairForm) -> dict[str, Any]:
    if form != "dialogue" and not (pair.chosen[-1].content.strip() and pair.rejected[-1].content.strip()):
        where = pair.place or f"pair {number:,}"
        raise InputError(
            f"{where} has an empty completion, which only the dialogue form can hold; --skip-bad-rows leaves such rows out."
        )
    parts = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    if form == "conversational":
        row: dict[str, Any] = {name: _dicts(messages) for name, messages in parts.items()}
    elif form == "dialogue":
        try:
            row = {n: write_dialogue(pair.prompt + m) for n, m in parts.items() if n != "prompt"}
        except InputError as error:
            raise InputError(f"pair {number:,} has {error}") from None
    else:
        if any(len(messages) != 1 for messages in parts.values()) or pair.prompt[0].role != "user":
            raise InputError(
                f"pair {number:,} has more than one message in a part; the text form holds one question and one "
                "answer, use the conversational form."
            )
        row = {name: messages[0].content for name, messages in parts.items()}
    defaults = {"label": 1.0, "weight": 1.0, "margin": 0.0, "score_chosen": None, "score_rejected": None}
    extra = {name: getattr(pair, name) for name in (*defaults, "annotator")}
    return row | {name: value for name, value in extra.items() if value != defaults.get(name, "")}


def _dicts(messages: Messages) -> list[dict[str, str]]:
    return [message.to_dict() for message in messages]
