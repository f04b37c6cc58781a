"""Conversations as people's files hold them: lists of messages, hh-rlhf's raw dialogues, and rendered chat templates.

The raw form (arXiv 2204.05862) is "\\n\\nHuman: ...\\n\\nAssistant: ...", here also with "System:", with or without the
blank and the empty lines. A marker opens a turn at the start of a line only; inside a line it is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, get_args

from custodes.types import InputError, Message, Role

Messages = tuple[Message, ...]

NAMES: dict[Role, str] = {"system": "System", "user": "Human", "assistant": "Assistant"}
_ROLE: dict[str, Role] = {name: role for role, name in NAMES.items()}
_MARKER = "|".join(_ROLE)
TURN = re.compile(rf"\n\n({_MARKER}):")
_LINE = re.compile(rf"\n({_MARKER}):")
START = re.compile(rf"\s*({_MARKER}):")

ROLES: dict[str, Role] = {role: role for role in get_args(Role)} | {
    "human": "user", "prompter": "user", "developer": "system", "gpt": "assistant", "bot": "assistant",
    "chatgpt": "assistant", "model": "assistant", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
"""What other people's files call the roles."""

UNREAD = (
    "tool_calls",
    "function_call",
    "images",
    "image",
    "image_url",
    "audio",
    "video",
    "videos",
    "reasoning_content",
    "thinking",
)
"""Fields of a message that carry meaning beside its text, which no model here is shown."""


def text_or_messages(value: object) -> str | Messages:
    """Text as it is, messages from a list of them. Raises ValueError that says what is wrong."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"found {type(value).__name__}; it should be text or a list of messages")
    return tuple(_message(turn, f"message {n}") for n, turn in enumerate(value, 1))


def _message(turn: object, where: str) -> Message:
    """One message: ``role`` or ``from``, and ``content``, ``value`` or ``text``, text or a list of parts with text."""
    if not isinstance(turn, dict):
        raise ValueError(f"{where} has no role among {', '.join(get_args(Role))}")
    given = next((turn[name] for name in ("role", "from") if turn.get(name) is not None), None)
    if given in ("function_call", "tool_call"):
        raise ValueError(f"{where} is a call of a tool, which is not read")
    role = ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise ValueError(f"{where} has no role among {', '.join(get_args(Role))}")
    for name in UNREAD:
        if turn.get(name):
            raise ValueError(f"{where} has {name}, which are not read")
    content = next((turn[name] for name in ("content", "value", "text") if turn.get(name) is not None), None)
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise ValueError(f"{where} has content of type {type(content).__name__}; it should be text")
    return Message(role, content)


def _joined(parts: Sequence[Any], where: str) -> str:
    """The text of a content that is a list of parts."""
    texts = []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        text = part.get("text") if isinstance(part, dict) else part
        if kind == "text" and isinstance(text, str):
            texts.append(text)
        elif kind != "text" and not (text is None and part.get(kind) is None):
            raise ValueError(f"{where} has a part of type {kind}, which is not read")
    return "".join(texts)


# ---------------------------------------------------------------- raw dialogues


def is_dialogue(text: str | Messages) -> bool:
    """Whether a text is a raw dialogue."""
    return isinstance(text, str) and bool(read_dialogue(text))


def read_dialogue(text: str) -> Messages:
    """The messages of a raw dialogue; () where ``text`` is not in that form, or nobody asks in it.

    Turns are those after empty lines; where there is none, those at the start of any line. An empty turn counts only at
    the end, where it is an answer that says nothing or a place left for one. Neighbouring turns of one speaker, which
    the data set has, are one message.
    """
    opening = START.match(text)
    if opening is None:
        return ()
    body = "\n\n" + text[opening.start(1) :]
    parts = (TURN if TURN.search(body, 1) else _LINE).split(body)[1:]
    said: list[Message] = []
    for speaker, content in zip(parts[::2], parts[1::2], strict=True):
        role = _ROLE[speaker]
        if said and not said[-1].content:
            said.pop()
        if said and said[-1].role == role:
            said[-1] = Message(role, f"{said[-1].content}\n{content.strip()}".strip())
        else:
            said.append(Message(role, content.strip()))
    return tuple(said) if any(m.role == "user" for m in said) else ()


def write_dialogue(messages: Sequence[Message]) -> str:
    """The raw form. Raises InputError for a message that it cannot hold: another role, or a text that opens a turn."""
    for message in messages:
        if message.role not in NAMES or TURN.search(message.content):
            raise InputError(f"a {message.role} message that a raw dialogue cannot hold; use messages.")
    return "".join(f"\n\n{NAMES[m.role]}: {m.content}" for m in messages)


# ---------------------------------------------------------------- rendered chat templates

_TEMPLATES = {
    "ChatML": (r"<\|im_start\|>(\w+)\n", r"<\|im_end\|>"),
    "Llama 3": (r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n\n", r"<\|eot_id\|>"),
    "Gemma": (r"<start_of_turn>(\w+)\n", r"<end_of_turn>"),
    "Zephyr": (r"<\|(system|user|assistant)\|>\n", r"(?:</s>|<\|end\|>|<\|endoftext\|>)"),
}
"""What opens a turn, with its role, and what ends it."""
_TURNS = {name: re.compile(rf"{opens}(.*?)(?:{ends}\s*|$)", re.S) for name, (opens, ends) in _TEMPLATES.items()}
_BEGIN = re.compile(r"^\s*(?:<\|begin_of_text\|>|<bos>|<s>)?\s*")

TOKENS = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|begin_of_text|endoftext|system|user|assistant|end)\|>"
    r"|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
)
"""Tokens of the usual chat templates, where they stand in a text."""


def read_template(text: str) -> tuple[str, Messages]:
    """The template that rendered the whole of ``text``, and its messages; ("", ()) where none did.

    A turn that is open at the end is an answer that is still to come and leaves no message.
    """
    body = _BEGIN.sub("", text)
    for name, turn in _TURNS.items() if body.startswith("<") else ():
        messages, at = [], 0
        while (found := turn.match(body, at)) and found.end() > at and found[1] in ROLES:
            if TOKENS.search(found[2]):
                break
            messages.append(Message(ROLES[found[1]], found[2].strip()))
            at = found.end()
        if messages and at == len(body):
            still_open = messages[-1].role == "assistant" and not messages[-1].content
            return name, tuple(messages[:-1] if still_open else messages)
    return "", ()


# ---------------------------------------------------------------- prompts and answers


def as_prompt(prompt: str | Messages) -> Messages:
    """A prompt given as text is what the user says; a dialogue may end with an open "Assistant:"."""
    if not isinstance(prompt, str):
        return prompt
    turns = read_dialogue(prompt)
    if not turns:
        return (Message("user", prompt),)
    return turns[:-1] if turns[-1] == Message("assistant", "") else turns


def as_completion(completion: str | Messages) -> Messages:
    """An answer given as text is one message of the assistant."""
    return (Message("assistant", completion),) if isinstance(completion, str) else completion


def exchanges(prompts: Sequence[str], answers: Sequence[str]) -> Messages:
    """A conversation from what was asked and what was answered, turn by turn."""
    turns = zip(prompts, answers, strict=True)
    return tuple(m for asked, said in turns for m in (Message("user", asked), Message("assistant", said)))


def plain_text(text: str) -> str:
    """A text without what white space may differ in."""
    return " ".join(text.split())


def alike(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """Whether two conversations are the same but for white space."""
    return [(m.role, plain_text(m.content)) for m in one] == [(m.role, plain_text(m.content)) for m in other]


def from_json(text: str) -> Any:
    """What a text says in JSON, as tables without lists hold them; the text itself where it is none."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
