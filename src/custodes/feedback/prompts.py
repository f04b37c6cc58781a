"""What was asked: the columns that hold a prompt, and what two conversations share at their beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
from custodes.feedback.source import FeedbackRow, says_nothing
from custodes.types import InputError, Message

ASKED = ("prompt", "question", "instruction", "query", "input", "context")
"""Columns that hold what is asked, the first that is there."""
TURNS = ("conversations", "conversation", "messages", "trajectory")
"""Columns that hold a conversation as messages."""
PROMPT_COLUMNS = (*ASKED, *TURNS, "system", "system_prompt", "history")
ANSWERS = ("completion", "output", "response", "answer")
"""Columns that hold one answer."""
WHOLE = ("messages", "conversations", "text")
"""Columns that hold a conversation with its answer."""
Parted = tuple[Messages, Messages, Messages]
"""(prompt, chosen, rejected)"""


def asked(row: FeedbackRow, turns: Sequence[str] = TURNS, whole: bool = False) -> Messages | None:
    """The prompt of a row: system, history and what is asked. None where no column holds any of them.

    ``whole`` says that the answers are conversations, which hold what was asked: a second prompt is then left out.
    """
    system, history, main = _system(row), _history(row), _main(row, turns, whole)
    if main is None and not system and not history:
        return None
    messages = (*history, *(main or ()))
    if not system:
        return messages
    if messages and messages[0].role == "system":
        if not alike(messages[:1], system):
            raise row.bad("system", "the conversation begins with another system message; keep one")
        return messages
    row.assume("the column with the system prompt opens the conversation")
    return (*system, *messages)


def together(row: FeedbackRow, prompt: Messages | None, chosen: str | Messages, rejected: str | Messages) -> Parted:
    """(prompt, chosen, rejected) of two answers in any form; what they share at the start belongs to the prompt.

    Raises InputError where both cannot be answers to one prompt.
    """
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _texts(row, prompt, chosen, rejected)
    return _conversations(row, prompt, as_completion(chosen), as_completion(rejected))


def _note_tokens(row: FeedbackRow, name: str, *texts: str) -> None:
    """Say so where a text holds tokens of a chat template."""
    if any(TOKENS.search(text) for text in texts):
        row.assume(f"the {name} holds tokens of a chat template; they are kept as text")


# ---------------------------------------------------------------- what is asked


def _main(row: FeedbackRow, turns: Sequence[str], whole: bool) -> Messages | None:
    held = [name for name in ASKED if not says_nothing(row.values.get(name))]
    if not held:
        name = next((name for name in turns if not says_nothing(row.values.get(name))), None)
        if name is None:
            return () if isinstance(row.values.get("prompt"), str) else None
        row.assume(f"the column {name!r} is the prompt")
        return as_prompt(row.content(name))
    first, given = held[0], row.content(held[0])
    if held[:2] == ["instruction", "input"] and isinstance(given, str):
        more = row.content("input")
        if isinstance(more, str) and plain_text(more) not in plain_text(given):
            row.assume("instruction and input are one prompt, one line after the other")
            given = f"{given}\n{more}"
        held = held[1:]
    elif first != "prompt":
        row.assume(f"the column {first!r} is the prompt")
    for name in held[1:]:
        other = row.content(name)
        if whole or not (isinstance(given, str) and isinstance(other, str)):
            row.leave_out(f"the column {name!r}: the prompt is in {first!r}")
        elif plain_text(other) not in plain_text(given) and plain_text(given) not in plain_text(other):
            raise row.bad(name, f"{first!r} is another prompt; keep the column that was asked")
    if not isinstance(given, str):
        return given
    template, messages = read_template(given)
    if template:
        row.assume(f"the prompt is rendered by a chat template ({template}); its turns are read")
        row.rendered = True
        return messages
    _note_tokens(row, "prompt", given)
    return as_prompt(given)


def _system(row: FeedbackRow) -> Messages:
    for name in ("system", "system_prompt"):
        if says_nothing(row.values.get(name)):
            continue
        given = row.content(name)
        if isinstance(given, str):
            return (Message("system", given),)
        if len(given) != 1:
            raise row.bad(name, f"{len(given)} messages; it should be one system prompt")
        return (Message("system", given[0].content),)
    return ()


def _history(row: FeedbackRow) -> Messages:
    """Earlier turns: a list of (question, answer), as LLaMA-Factory has it, or of messages."""
    if says_nothing(row.values.get("history")):
        return ()
    given = row.value("history")
    row.assume("the column 'history' holds earlier turns")
    if isinstance(given, list) and all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn) for turn in given
    ):
        return exchanges([turn[0] for turn in given], [turn[1] for turn in given])
    try:
        messages = text_or_messages(given)
    except ValueError:
        messages = ""
    if isinstance(messages, str):
        raise row.bad("history", "it should be a list of earlier questions with their answers")
    return messages


# ---------------------------------------------------------------- two answers


def _texts(row: FeedbackRow, prompt: Messages | None, chosen: str, rejected: str) -> Parted:
    (template, left), (_, right) = read_template(chosen), read_template(rejected)
    if left and right and left[0].role != "assistant":
        row.assume(f"chosen and rejected are rendered by a chat template ({template}); its turns are read")
        return _conversations(row, prompt, left, right)
    one, other = read_dialogue(chosen), read_dialogue(rejected)
    if one and other:
        try:
            return _conversations(row, prompt, one, other)
        except InputError:
            if prompt is None:
                raise
    elif (one or other) and prompt is None:
        raise row.wrong('one side is a "\\n\\nHuman:" dialogue and the other is not')
    if not row.rendered:
        _note_tokens(row, "answer", chosen, rejected)
    if prompt is None:
        shared = _shared_words(chosen, rejected)
        if shared[0]:
            row.assume("there is no prompt: it is what chosen and rejected share at the start, as in TRL")
        return shared
    start = prompt[-1].content if prompt and prompt[-1].role == "user" else ""
    behind = [_behind(start, text) for text in (chosen, rejected)]
    if all(behind):
        row.assume("chosen and rejected begin with the prompt, which is taken once")
        chosen, rejected = behind
    if row.rendered:  # without the token that a template ends an answer with
        end = re.compile(r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|</s>)\s*$")
        chosen, rejected = (end.sub("", text) or text for text in (chosen, rejected))
    return prompt, as_completion(chosen), as_completion(rejected)


def _behind(start: str, text: str) -> str:
    """What stands in a text behind a repeated prompt and some white space; "" where it does not begin with one."""
    start, rest = start.strip(), text.lstrip()
    if not start or not rest.startswith(start) or not rest[len(start) :][:1].isspace():
        return ""
    return rest[len(start) :].lstrip()


def _shared_words(chosen: str, rejected: str) -> Parted:
    """TRL's rule for plain text: the prompt is what both share, up to the last space in it."""
    if plain_text(chosen) == plain_text(rejected):
        return (), as_completion(chosen), as_completion(rejected)
    shorter = min(len(chosen), len(rejected))
    shared = next((n for n in range(shorter) if chosen[n] != rejected[n]), shorter)
    end = max((m.start() for m in re.finditer(r"\s", chosen[:shared])), default=0)
    prompt = as_prompt(chosen[:end]) if chosen[:end].strip() else ()
    return prompt, as_completion(chosen[end:].lstrip()), as_completion(rejected[end:].lstrip())


def _conversations(row: FeedbackRow, prompt: Messages | None, chosen: Messages, rejected: Messages) -> Parted:
    shared = shared_turns((chosen, rejected))
    if not shared and all(side[:1] and side[0].role != "assistant" for side in (chosen, rejected)):
        if not any(m.role == "assistant" for side in (chosen, rejected) for m in side):
            raise row.bad("chosen", "it should end with a message of the assistant")
        raise row.wrong("chosen and rejected answer different prompts; a preference has one")
    beginning, sides = chosen[:shared], (chosen[shared:], rejected[shared:])
    if not prompt:
        return beginning, *sides
    if not beginning or beginning[0].role == "assistant":
        return (*prompt, *beginning), *sides
    system = prompt[:1] if prompt[0].role == "system" else ()
    turns = prompt[len(system) :]
    if turns and not any(alike(beginning[n : n + len(turns)], turns) for n in range(len(beginning))):
        if turns[-1].role == "user":
            raise row.wrong("the prompt is not what chosen and rejected begin with")
        return (*prompt, *beginning), *sides
    if system and beginning[0].role == "system" and not alike(system, beginning[:1]):
        raise row.bad("system", "the conversation begins with another system message; keep one")
    if turns:
        row.assume("chosen and rejected begin with the prompt, which is taken once")
    return (beginning if beginning[0].role == "system" else (*system, *beginning)), *sides


def shared_turns(sides: Sequence[Messages]) -> int:
    """How many messages all sides begin with, so that an answer of the assistant is left to each."""
    most, first = min(len(side) for side in sides) - 1, sides[0]
    shared = 0
    while shared < most and all(alike(side[shared : shared + 1], first[shared : shared + 1]) for side in sides):
        shared += 1
    while shared and any(side[shared].role != "assistant" for side in sides):
        shared -= 1
    return max(shared, 0)


def check_answer(row: FeedbackRow, name: str, completion: Messages, may_be_silent: bool = False) -> None:
    """Raises InputError where a completion is none of the assistant's, or empty."""
    if not completion or completion[-1].role != "assistant":
        raise row.bad(name, "it should end with a message of the assistant")
    if not completion[-1].content.strip() and not may_be_silent:
        raise row.bad(name, "the completion is empty; write one")


# ---------------------------------------------------------------- one answer


def one_answer(row: FeedbackRow) -> tuple[Messages, Messages]:
    """(prompt, completion) of a row with one answer. Raises InputError where none or two columns hold it."""
    held = [name for name in (*ANSWERS, *WHOLE) if name in row.values]
    answers, whole = [n for n in held if n in ANSWERS], [n for n in held if n in WHOLE]
    if len(answers) + len(whole[:1] if answers else whole) != 1:
        what = f"columns {' and '.join(held)} say it twice" if held else "no column with an answer"
        raise row.wrong(
            f"{what}; found {', '.join(row.values) or 'no column'}, expected completion (and optionally prompt), "
            "messages or text"
        )
    name, given = held[0], row.content(held[0])
    prompt: Messages = ()
    if name in ANSWERS:
        prompt, completion = asked(row) or (), as_completion(given)
        if len(completion) > len(prompt) and prompt and alike(completion[: len(prompt)], prompt):
            completion = completion[len(prompt) :]
    elif name == "text":
        completion = as_completion(given)
    else:
        turns, system = as_prompt(given), _system(row)
        if system:
            row.assume("the column with the system prompt opens the conversation")
        prompt, completion = (*system, *turns[:-1]), turns[-1:]
    check_answer(row, name, completion)
    _note_tokens(row, "answer", *(m.content for m in completion))
    if "weight" in row.values and row.number("weight", 0, float("inf")) != 1:
        row.leave_out("the column 'weight': what is not a comparison has none")
    return prompt, completion
