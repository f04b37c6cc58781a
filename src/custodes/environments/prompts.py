"""A user's own prompts, read from a file.

A file is any table that :mod:`custodes.tables` reads. Each row gives its prompt by the first of these columns that it has:

- ``prompt``: text, or a list of messages;
- ``messages``: the reply at the end is left out;
- ``chosen``, of a preference file: the same, from messages or from hh-rlhf's raw dialogue.

A column ``system`` opens the conversation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from custodes.dialogue import read_dialogue
from custodes.tables import read_rows, warn
from custodes.types import InputError, Message, Role, Task, hash_shown

PROMPT_COLUMNS = ("prompt", "messages", "chosen")
ANSWER_COLUMNS = ("rejected", "completion")  # replies: part of a preference file, no business of a task


def read_tasks(path: str | Path, column: str = "", system: str = "") -> list[Task]:
    """One task for each distinct prompt of a file, in the file's order; further columns become metadata.

    ``column`` holds the prompt where it has another name than the usual ones. ``system`` opens every conversation that has
    no system message of its own. A prompt's id is a hash of its messages (:func:`task_id`), the same in every file and run.
    That rows repeat a prompt is a warning. Raises :class:`~custodes.types.InputError` naming file and row of what is wrong.
    """
    tasks, rows = dict[str, Task](), 0
    for row in read_rows(path, (*PROMPT_COLUMNS, *ANSWER_COLUMNS, *([column] if column else []))):
        rows += 1
        values = {**row.values, "prompt": row.values.get(column)} if column else row.values
        messages = prompt_messages(values, row.place)
        if system and messages[0].role != "system":
            messages = (Message("system", system), *messages)
        rest = {k: _plain(v) for k, v in row.values.items() if k not in (*PROMPT_COLUMNS, *ANSWER_COLUMNS, column)}
        task = Task(id=task_id(messages), messages=messages, metadata=rest)
        tasks.setdefault(task.id, task)
    if rows > len(tasks):
        repeated = f"{rows - len(tasks):,} of {rows:,} rows repeat a prompt"
        warn([f"{path}: {repeated}; each prompt is taken once, with what its first row says."])
    return list(tasks.values())


def prompts_are_text(path: str | Path, column: str = "") -> bool:
    """Whether the first prompt of a file is plain text, and no list of messages or dialogue: what TRL calls not conversational."""
    first = next(iter(read_rows(path, (*PROMPT_COLUMNS, *ANSWER_COLUMNS, *([column] if column else [])))), None)
    value = first.values.get(column or "prompt") if first is not None else None
    return isinstance(value, str) and not read_dialogue(value)


def task_id(messages: tuple[Message, ...]) -> str:
    """Stable id of a prompt: the first 16 hex digits of the SHA-256 over its roles and contents."""
    return hash_shown(*(part for m in messages for part in (m.role, m.content)))[:16]


def prompt_messages(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The conversation of a row up to the reply. Raises InputError, which begins with ``where``, for a row without one."""
    column = next((c for c in PROMPT_COLUMNS if row.get(c) is not None), None)
    if column is None:
        held = ", ".join(sorted(map(str, row))) or "none"
        raise InputError(
            f"{where} has no prompt; give one of the columns {', '.join(PROMPT_COLUMNS)} (it has: {held})."
        )
    value = row[column]
    if isinstance(value, str):
        messages = read_dialogue(value)
        if not messages and column == "prompt" and value.strip():
            messages = (Message("user", value.strip()),)
        if not messages:
            what = "is empty" if not value.strip() else "is text without a prompt; add a column 'prompt'"
            raise InputError(f"{where}: column {column!r} {what}.")
    else:
        messages = _messages(value, f"{where}, column {column!r}")
    # the reply that follows a prompt in `messages`, `chosen` and raw dialogue is not part of it
    while messages and (messages[-1].role == "assistant" or not messages[-1].content):
        messages = messages[:-1]
    system = row.get("system")
    if isinstance(system, str) and system.strip() and messages[:1] and messages[0].role != "system":
        messages = (Message("system", system.strip()), *messages)
    if not any(m.role == "user" for m in messages):
        raise InputError(f"{where}: column {column!r} has no user message that asks for a reply.")
    return messages


def _messages(value: object, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where} is {type(value).__name__}; give text or a list of messages with role and content.")
    messages = []
    for i, turn in enumerate(value, 1):
        role: Any = turn.get("role") if isinstance(turn, dict) else None
        content = turn.get("content") if isinstance(turn, dict) else None
        if role not in get_args(Role) or not isinstance(content, str) or not content.strip():
            roles = ", ".join(get_args(Role))
            raise InputError(f"{where}, message {i}: give a role ({roles}) and a content that is text and not empty.")
        messages.append(Message(role, content))
    return tuple(messages)


def _plain(value: object) -> Any:
    """As JSON has it: metadata is stored in the ledger, and parquet knows dates and decimals."""
    return json.loads(json.dumps(value, default=str))
