"""What was asked: the columns that hold a prompt, and what two conversations share at their beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from custodes.dialogue import (
    TOKENS,
    Messages,
    alike,
    as_completion,
    as_prompt,
    exchanges,
    plain_text,
    read_dialogue,
    read_template,
    text_or_messages,
)
from custodes.feedback.forms.source import SKIP, Source, bad, content, empty, value
from custodes.tables import Row
from custodes.types import InputError, Message

ASKED = ("prompt", "question", "instruction", "query", "input", "context")
"""Columns that hold what is asked, the first that is there."""
TURNS = ("conversations", "conversation", "messages", "trajectory")
"""Columns that hold a conversation as messages."""
PROMPT_COLUMNS = (*ASKED, *TURNS, "system", "system_prompt", "history")


def asked(row: Row, source: Source, turns: Sequence[str] = TURNS, whole: bool = False) -> Messages | None:
    """The prompt of a row: system, history and what is asked. None where no column holds any of them.

    ``whole`` says that the answers are conversations, which hold what was asked: a second prompt is then left out.
    """
    system, history, main = _system(row), _history(row, source), _main(row, source, turns, whole)
    if main is None and not system and not history:
        return None
    messages = (*history, *(main or ()))
    if not system:
        return messages
    if messages and messages[0].role == "system":
        if not alike(messages[:1], system):
            raise bad(row, "system", f"the conversation begins with another system message; keep one ({SKIP}).")
        return messages
    source.assume("the column with the system prompt opens the conversation")
    return (*system, *messages)


def together(
    row: Row, source: Source, prompt: Messages | None, chosen: str | Messages, rejected: str | Messages
) -> tuple[Messages, Messages, Messages]:
    """(prompt, chosen, rejected) of two answers in any form; what they share at the start belongs to the prompt.

    Raises InputError where both cannot be answers to one prompt.
    """
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _texts(row, source, prompt, chosen, rejected)
    return _conversations(row, source, prompt, as_completion(chosen), as_completion(rejected))


def note_tokens(source: Source, name: str, *texts: str) -> None:
    """Say so where a text holds tokens of a chat template."""
    if any(TOKENS.search(text) for text in texts):
        source.assume(f"the {name} holds tokens of a chat template; they are kept as text")


# ---------------------------------------------------------------- what is asked


def _main(row: Row, source: Source, turns: Sequence[str], whole: bool) -> Messages | None:
    held = [name for name in ASKED if not empty(row.values.get(name))]
    if not held:
        name = next((name for name in turns if not empty(row.values.get(name))), None)
        if name is None:
            return () if isinstance(row.values.get("prompt"), str) else None
        source.assume(f"the column {name!r} is the prompt")
        return as_prompt(content(row, name))
    first, given = held[0], content(row, held[0])
    if held[:2] == ["instruction", "input"] and isinstance(given, str):
        more = content(row, "input")
        if isinstance(more, str) and plain_text(more) not in plain_text(given):
            source.assume("instruction and input are one prompt, one line after the other")
            given = f"{given}\n{more}"
        held = held[1:]
    elif first != "prompt":
        source.assume(f"the column {first!r} is the prompt")
    for name in held[1:]:
        other = content(row, name)
        if whole or not (isinstance(given, str) and isinstance(other, str)):
            source.leave_out(f"the column {name!r}: the prompt is in {first!r}")
        elif plain_text(other) not in plain_text(given) and plain_text(given) not in plain_text(other):
            raise bad(row, name, f"{first!r} is another prompt; keep the column that was asked ({SKIP}).")
    return _prompt(source, given)


def _prompt(source: Source, given: str | Messages) -> Messages:
    if not isinstance(given, str):
        return given
    template, messages = read_template(given)
    if template:
        source.assume(f"the prompt is rendered by a chat template ({template}); its turns are read")
        source.rendered = True
        return messages
    note_tokens(source, "prompt", given)
    return as_prompt(given)


def _system(row: Row) -> Messages:
    for name in ("system", "system_prompt"):
        if empty(row.values.get(name)):
            continue
        given = content(row, name)
        if isinstance(given, str):
            return (Message("system", given),)
        if len(given) != 1:
            raise bad(row, name, f"{len(given)} messages; it should be one system prompt ({SKIP}).")
        return (Message("system", given[0].content),)
    return ()


def _history(row: Row, source: Source) -> Messages:
    """Earlier turns: a list of (question, answer), as LLaMA-Factory has it, or of messages."""
    if empty(row.values.get("history")):
        return ()
    given = value(row, "history")
    source.assume("the column 'history' holds earlier turns")
    if isinstance(given, list) and all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn) for turn in given
    ):
        return exchanges([turn[0] for turn in given], [turn[1] for turn in given])
    try:
        messages = text_or_messages(given)
    except ValueError:
        messages = ""
    if isinstance(messages, str):
        raise bad(row, "history", f"it should be a list of earlier questions with their answers ({SKIP}).")
    return messages


# ---------------------------------------------------------------- two answers


def _texts(
    row: Row, source: Source, prompt: Messages | None, chosen: str, rejected: str
) -> tuple[Messages, Messages, Messages]:
    (template, left), (_, right) = read_template(chosen), read_template(rejected)
    if left and right and left[0].role != "assistant":
        source.assume(f"chosen and rejected are rendered by a chat template ({template}); its turns are read")
        return _conversations(row, source, prompt, left, right)
    said, also = read_dialogue(chosen), read_dialogue(rejected)
    if said and also:
        try:
            return _conversations(row, source, prompt, said, also)
        except InputError:
            if prompt is None:
                raise
    elif (said or also) and prompt is None:
        raise InputError(f'{row.place}: one side is a "\\n\\nHuman:" dialogue and the other is not ({SKIP}).')
    if not source.rendered:
        note_tokens(source, "answer", chosen, rejected)
    if prompt is None:
        shared = _shared_words(chosen, rejected)
        if shared[0]:
            source.assume("there is no prompt: it is what chosen and rejected share at the start, as in TRL")
        return shared
    asked_last = prompt[-1].content if prompt and prompt[-1].role == "user" else ""
    one, other = _behind(asked_last, chosen), _behind(asked_last, rejected)
    if one and other:
        source.assume("chosen and rejected begin with the prompt, which is taken once")
        chosen, rejected = one, other
    if source.rendered:
        chosen, rejected = _unclosed(chosen), _unclosed(rejected)
    return prompt, as_completion(chosen), as_completion(rejected)


def _behind(asked_last: str, text: str) -> str:
    """What stands in a text behind a repeated prompt and some white space; "" where it does not begin with one."""
    start, rest = asked_last.strip(), text.lstrip()
    if not start or not rest.startswith(start) or not rest[len(start) :][:1].isspace():
        return ""
    return rest[len(start) :].lstrip()


def _unclosed(text: str) -> str:
    """An answer without the token that a template ends it with."""
    return re.sub(r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|</s>)\s*$", "", text) or text


def _shared_words(chosen: str, rejected: str) -> tuple[Messages, Messages, Messages]:
    """TRL's rule for plain text: the prompt is what both share, up to the last space in it."""
    if plain_text(chosen) == plain_text(rejected):
        return (), as_completion(chosen), as_completion(rejected)
    shorter = min(len(chosen), len(rejected))
    shared = next((n for n in range(shorter) if chosen[n] != rejected[n]), shorter)
    end = max((m.start() for m in re.finditer(r"\s", chosen[:shared])), default=0)
    prompt = as_prompt(chosen[:end]) if chosen[:end].strip() else ()
    return prompt, as_completion(chosen[end:].lstrip()), as_completion(rejected[end:].lstrip())


def _conversations(
    row: Row, source: Source, prompt: Messages | None, chosen: Messages, rejected: Messages
) -> tuple[Messages, Messages, Messages]:
    shared = shared_turns((chosen, rejected))
    if chosen[:1] and chosen[0].role != "assistant" and rejected[:1] and rejected[0].role != "assistant" and not shared:
        if not any(m.role == "assistant" for side in (chosen, rejected) for m in side):
            raise bad(row, "chosen", f"it should end with a message of the assistant ({SKIP}).")
        raise InputError(f"{row.place}: chosen and rejected answer different prompts; a preference has one ({SKIP}).")
    beginning = chosen[:shared]
    if not prompt:
        return beginning, chosen[shared:], rejected[shared:]
    if not beginning or beginning[0].role == "assistant":
        return (*prompt, *beginning), chosen[shared:], rejected[shared:]
    system = prompt[:1] if prompt[0].role == "system" else ()
    said = prompt[len(system) :]
    if said and not any(alike(beginning[n : n + len(said)], said) for n in range(len(beginning))):
        if said[-1].role == "user":
            raise InputError(f"{row.place}: the prompt is not what chosen and rejected begin with ({SKIP}).")
        return (*prompt, *beginning), chosen[shared:], rejected[shared:]
    if system and beginning[0].role == "system" and not alike(system, beginning[:1]):
        raise bad(row, "system", f"the conversation begins with another system message; keep one ({SKIP}).")
    if said:
        source.assume("chosen and rejected begin with the prompt, which is taken once")
    whole = beginning if beginning[0].role == "system" else (*system, *beginning)
    return whole, chosen[shared:], rejected[shared:]


def shared_turns(sides: Sequence[Messages]) -> int:
    """How many messages all sides begin with, so that an answer of the assistant is left to each."""
    most, first = min(len(side) for side in sides) - 1, sides[0]
    shared = 0
    while shared < most and all(alike(side[shared : shared + 1], first[shared : shared + 1]) for side in sides):
        shared += 1
    while shared and any(side[shared].role != "assistant" for side in sides):
        shared -= 1
    return max(shared, 0)


def check_answer(row: Row, name: str, completion: Messages, may_be_silent: bool = False) -> None:
    """Raises InputError where a completion is none of the assistant's, or empty."""
    if not completion or completion[-1].role != "assistant":
        raise bad(row, name, f"it should end with a message of the assistant ({SKIP}).")
    if not completion[-1].content.strip() and not may_be_silent:
        raise bad(row, name, "the completion is empty; write one, or leave such rows out with --skip-bad-rows.")


def only_text(given: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(given, list) and bool(given) and all(isinstance(one, str) for one in given)
