"""hh-rlhf's raw dialogue form (arXiv 2204.05862), "\\n\\nHuman: ...\\n\\nAssistant: ...", and messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from custodes.types import InputError, Message, Role

NAMES = {"user": "Human", "assistant": "Assistant"}
TURN = re.compile(r"\n\n(Human|Assistant):")
START = re.compile(r"(?:\n\n)?(Human|Assistant):")


def read_dialogue(text: str) -> tuple[Message, ...]:
    """The messages of a raw dialogue; () where ``text`` is not in that form.

    An empty turn counts only at the end, where it is an answer that says nothing or a place left for one. Neighbouring
    turns of one speaker, which the data set has, are one message.
    """
    if not START.match(text):
        return ()
    parts = TURN.split(text if text.startswith("\n\n") else f"\n\n{text}")[1:]
    said: list[Message] = []
    for speaker, content in zip(parts[::2], parts[1::2], strict=True):
        role: Role = "user" if speaker == NAMES["user"] else "assistant"
        if said and not said[-1].content:
            said.pop()
        if said and said[-1].role == role:
            said[-1] = Message(role, f"{said[-1].content}\n{content.strip()}".strip())
        else:
            said.append(Message(role, content.strip()))
    return tuple(said)


def write_dialogue(messages: Sequence[Message]) -> str:
    """The raw form. Raises InputError for a message that it cannot hold: another role, or a text that opens a turn."""
    for message in messages:
        if message.role not in NAMES or TURN.search(message.content):
            raise InputError(f"a {message.role} message that a raw dialogue cannot hold; use messages.")
    return "".join(f"\n\n{NAMES[m.role]}: {m.content}" for m in messages)
