"""Preference data and examples as the rest of the field writes them.

| columns | read by | what it becomes |
|---|---|---|
| ``chosen``, ``rejected`` (with or without ``prompt``) | :func:`read_preferences` | a :class:`PreferencePair` |
| ``messages`` / ``text`` / ``prompt`` + ``completion`` | :func:`read_examples` | an :class:`Example` (demonstration) |
| the same with ``label`` (true: acceptable) | :func:`read_examples` | an :class:`Example` with a label |

``prompt``, ``chosen``, ``rejected`` and ``completion`` are text or lists of messages (``role``, ``content``). Text of the
form "\\n\\nHuman: ...\\n\\nAssistant: ..." is read as a dialogue. Where there is no ``prompt``, it is what chosen and
rejected share at the start: whole messages, or for plain text whole words, as in TRL.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from custodes.dialogue import TURN, read_dialogue, write_dialogue
from custodes.feedback.records import describe
from custodes.tables import Row, read_rows, write_rows
from custodes.types import InputError, Message, PreferencePair, Role

Form = Literal["conversational", "text", "dialogue"]
Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One completion of a prompt: a demonstration, or where ``label`` is given an answer found (un)acceptable."""

    prompt: Messages
    completion: Messages
    label: bool | None = None
    weight: float = 1.0
    annotator: str = ""
    line: int = 0


def read_preferences(path: str | Path) -> list[PreferencePair]:
    """Reads preference pairs in any of the forms above from .jsonl, .jsonl.gz, .json, .parquet, or a folder with one.

    Optional columns: ``label``, ``weight``, ``margin``, ``score_chosen``, ``score_rejected``, ``annotator``. Raises
    InputError naming file, row and field for a row that cannot be used; no row is left out. A dialogue ("\\n\\nHuman:")
    whose last answer is empty is a model that said nothing: it is kept, with a warning that names the rows.
    """
    silent: list[int] = []
    rows = read_rows(path)
    pairs = [_pair(row, silent) for row in rows]
    if silent:
        shown = ", ".join(f"{n:,}" for n in silent[:5]) + (", ..." if len(silent) > 5 else "")
        warnings.warn(
            f"{rows[0].path}: in {len(silent)} dialogues an answer is empty (rows {shown}); they are kept, as answers "
            "that say nothing.",
            stacklevel=2,
        )
    return pairs


def write_preferences(path: str | Path, pairs: Iterable[PreferencePair], form: Form = "conversational") -> Path:
    """Writes pairs as message lists, as text, or as raw dialogues; optional columns where they say something.

    The text form holds a single user message and single answers. Raises InputError naming the pair that does not fit.
    """
    return write_rows(path, (_pair_row(pair, n, form) for n, pair in enumerate(pairs, 1)))


def read_examples(path: str | Path) -> list[Example]:
    """Reads demonstrations and labelled completions: ``messages``, ``text``, or ``completion`` with or without
    ``prompt``, each with or without ``label`` (true or false). Raises InputError naming file, row and field."""
    return [_example(row) for row in read_rows(path)]


def write_examples(path: str | Path, examples: Iterable[Example]) -> Path:
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


# ---------------------------------------------------------------- rows as they should be


def text_or_messages(value: object) -> str | Messages:
    """Checked here and not by a union of types, whose complaints are one sentence per member."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"found {type(value).__name__}; it should be text or a list of messages")
    messages = []
    for n, turn in enumerate(value, 1):
        if not isinstance(turn, dict) or turn.get("role") not in get_args(Role):
            raise ValueError(f"message {n} has no role among {', '.join(get_args(Role))}")
        if not isinstance(turn.get("content"), str):
            raise ValueError(f"message {n} has content of type {type(turn.get('content')).__name__}; it should be text")
        messages.append(Message(turn["role"], turn["content"]))
    return tuple(messages)


def _yes_or_no(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{str(value)[:40]!r}; it should be true or false")
    return bool(value)


Content = Annotated[str | Messages, BeforeValidator(text_or_messages)]


class _Columns(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

    prompt: Content | None = None
    weight: float = Field(1.0, ge=0)
    annotator: str = ""


class _PreferenceColumns(_Columns):
    chosen: Content
    rejected: Content
    label: float = Field(1.0, ge=0, le=1)
    margin: float = 0.0
    score_chosen: float | None = None
    score_rejected: float | None = None


class _ExampleColumns(_Columns):
    completion: Content | None = None
    messages: Content | None = None
    text: str | None = None
    label: Annotated[bool, BeforeValidator(_yes_or_no)] | None = None


C = TypeVar("C", bound=_Columns)


def _check(columns: type[C], row: Row) -> C:
    try:
        return columns.model_validate(row.values)
    except ValidationError as error:
        raise InputError(f"{row.place}, {describe(error)}.") from None


# ---------------------------------------------------------------- preferences


def _pair(row: Row, silent: list[int]) -> PreferencePair:
    missing = [name for name in ("chosen", "rejected") if name not in row.values]
    if missing:
        raise InputError(
            f"{row.place}: column {missing[0]!r} is missing; found {', '.join(row.values) or 'no column'}, "
            "expected chosen and rejected, and optionally prompt."
        )
    found = _check(_PreferenceColumns, row)
    if isinstance(found.chosen, str) != isinstance(found.rejected, str):
        raise InputError(f"{row.place}, field 'rejected': text and messages are mixed; give both in the same form.")
    dialogue = isinstance(found.chosen, str) and _is_dialogue(found.prompt or found.chosen)
    if found.prompt is not None:
        prompt, chosen, rejected = _with_prompt(found.prompt, found.chosen, found.rejected)
    elif isinstance(found.chosen, str) and isinstance(found.rejected, str) and not dialogue:
        prompt, chosen, rejected = _shared_words(found.chosen, found.rejected)
    else:
        prompt, chosen, rejected = _shared_messages(_turns(found.chosen, row), _turns(found.rejected, row))
    for name, completion in (("chosen", chosen), ("rejected", rejected)):
        _check_completion(name, completion, row, may_be_silent=dialogue and found.prompt is None)
    if chosen == rejected:
        raise InputError(f"{row.place}: chosen and rejected are identical; a preference needs two completions.")
    if not (chosen[-1].content.strip() and rejected[-1].content.strip()):
        silent.append(row.number)
    return PreferencePair(
        prompt,
        chosen,
        rejected,
        label=found.label,
        weight=found.weight,
        margin=found.margin,
        score_chosen=found.score_chosen,
        score_rejected=found.score_rejected,
        annotator=found.annotator,
        line=row.number,
    )


def _with_prompt(
    prompt: str | Messages, chosen: str | Messages, rejected: str | Messages
) -> tuple[Messages, Messages, Messages]:
    """An explicit prompt; message lists may repeat it at their start, as in UltraFeedback."""
    start = as_prompt(prompt)
    both = [
        completion[len(start) :] if completion[: len(start)] == start else completion
        for completion in (as_completion(chosen), as_completion(rejected))
    ]
    return start, both[0], both[1]


def _shared_messages(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _shared_words(chosen: str, rejected: str) -> tuple[Messages, Messages, Messages]:
    """TRL's rule for plain text: the prompt is what both share, up to the last space in it."""
    if chosen == rejected:
        return (), as_completion(chosen), as_completion(rejected)
    shorter = min(len(chosen), len(rejected))
    shared = next((n for n in range(shorter) if chosen[n] != rejected[n]), shorter)
    end = max((m.start() for m in re.finditer(r"\s", chosen[:shared])), default=0)
    prompt = as_prompt(chosen[:end]) if chosen[:end].strip() else ()
    return prompt, as_completion(chosen[end:].lstrip()), as_completion(rejected[end:].lstrip())


def _check_completion(name: str, completion: Messages, row: Row, may_be_silent: bool = False) -> None:
    if not completion or completion[-1].role != "assistant":
        raise InputError(f"{row.place}, field {name!r}: it should end with a message of the assistant.")
    if not completion[-1].content.strip() and not may_be_silent:
        raise InputError(f"{row.place}, field {name!r}: the completion is empty; write one or remove the row.")


def _pair_row(pair: PreferencePair, number: int, form: Form) -> dict[str, Any]:
    if form != "dialogue" and not (pair.chosen[-1].content.strip() and pair.rejected[-1].content.strip()):
        raise InputError(f"pair {number:,} has an empty completion, which only the dialogue form can hold.")
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


# ---------------------------------------------------------------- examples


def _example(row: Row) -> Example:
    found = _check(_ExampleColumns, row)
    sources = [name for name in ("completion", "messages", "text") if getattr(found, name) is not None]
    if len(sources) != 1:
        what = f"columns {' and '.join(sources)} say it twice" if sources else "no column with an answer"
        raise InputError(
            f"{row.place}: {what}; found {', '.join(row.values) or 'no column'}, "
            "expected completion (and optionally prompt), messages or text."
        )
    prompt: Messages = ()
    if found.completion is not None:
        prompt = as_prompt(found.prompt) if found.prompt is not None else ()
        completion = as_completion(found.completion)
    elif found.messages is not None:
        turns = _turns(found.messages, row)
        prompt, completion = turns[:-1], turns[-1:]
    else:
        completion = as_completion(found.text or "")
    _check_completion(sources[0], completion, row)
    return Example(
        prompt, completion, label=found.label, weight=found.weight, annotator=found.annotator, line=row.number
    )


# ---------------------------------------------------------------- messages and dialogues


def _is_dialogue(text: str | Messages) -> bool:
    return isinstance(text, str) and TURN.match(text) is not None


def _turns(content: str | Messages, row: Row) -> Messages:
    """Messages of a raw dialogue; messages as they are. Neighbours by one speaker are one message."""
    if not isinstance(content, str):
        return content
    if not _is_dialogue(content):
        raise InputError(f'{row.place}: one side is a "\\n\\nHuman:" dialogue and the other is not.')
    return read_dialogue(content)


def as_prompt(prompt: str | Messages) -> Messages:
    """A prompt given as text is what the user says; a dialogue may end with an open "Assistant:"."""
    if not isinstance(prompt, str):
        return prompt
    if not _is_dialogue(prompt):
        return (Message("user", prompt),)
    turns = _turns(prompt, Row(Path(), 0, {}))
    return turns[:-1] if turns[-1] == Message("assistant", "") else turns


def as_completion(completion: str | Messages) -> Messages:
    """An answer given as text is one message of the assistant."""
    return (Message("assistant", completion),) if isinstance(completion, str) else completion


def _dicts(messages: Messages) -> list[dict[str, str]]:
    return [message.to_dict() for message in messages]
