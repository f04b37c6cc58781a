"""The transcript syntax: what of a reply is scratchpad, what is a call of the shell, what the user sees.

``<cot>...</cot>`` is the hidden scratchpad, ``<bash>...</bash>`` one command; the environment answers with
``<stdout>`` and ``<stderr>``. A reply ends with its first command, whatever the policy writes after it: it has
not seen an answer yet. Everything outside the tags is what the user sees.

ScriptReplies come from models, so nothing here raises. What is wrong with a reply is listed in ``problems``:

- a tag that is never closed: an open scratchpad hides the rest of the reply, an open command is not run;
- tags inside tags: a command inside the scratchpad is a thought and is not run; of ``<bash>`` inside ``<bash>`` the
  inner one counts, as a browser would read it;
- ``<stdout>`` or ``<stderr>`` written by the policy: made-up output, which the user sees as it stands;
- a reply of more than :data:`MAX_REPLY` characters, of which the rest is not read.

One pass over the text, so that 10 MB of tags cost what 10 MB of prose cost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from custodes.types import Message

MAX_REPLY = 100_000
"""Characters of a reply that are read: a policy with something to say is far below it."""
MAX_SHOWN = 20_000
"""Characters of a command's output, each stream, that go back to the policy and into the record."""
TAG = re.compile(r"<(/?)(cot|bash|stdout|stderr)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, read."""

    scratchpad: str
    visible: str
    command: str | None = None
    problems: tuple[str, ...] = ()


def parse_reply(text: str) -> Reply:
    """Read a reply; see the module's docstring for the rules."""
    problems: list[str] = []
    if len(text) > MAX_REPLY:
        problems.append(f"longer than {MAX_REPLY:,} characters")
        text = text[:MAX_REPLY]
    hidden: list[str] = []
    seen: list[str] = []
    inside, start, command = "", 0, None
    for tag in TAG.finditer(text):
        closes, name = bool(tag.group(1)), tag.group(2).lower()
        if inside == "":
            if name in ("stdout", "stderr"):
                problems.append(f"<{name}> written by the policy")
            elif closes:
                seen.append(text[start : tag.start()])
                start = tag.end()
                problems.append(f"</{name}> without <{name}>")
            else:
                seen.append(text[start : tag.start()])
                inside, start = name, tag.end()
        elif name == inside and closes:
            if inside == "cot":
                hidden.append(text[start : tag.start()])
                inside, start = "", tag.end()
            else:
                command = text[start : tag.start()]
                break
        elif inside == "cot":
            if not closes:
                problems.append(f"<{name}> inside <cot>")
        elif name == "bash":
            problems.append("<bash> inside <bash>")
            start = tag.end()
        # other tags inside a command are part of it: `echo "<cot>"` is a legitimate command
    if command is None and inside:
        problems.append(f"<{inside}> never closed")
        if inside == "cot":
            hidden.append(text[start:])
    elif command is None:
        seen.append(text[start:])
    if command is not None and not command.strip():
        problems.append("an empty <bash>")
    return Reply(_join(hidden), _join(seen), command, tuple(dict.fromkeys(problems)))


def answer_text(stdout: str, stderr: str, note: str = "") -> str:
    """What goes back to the policy. Tags in the output are defused: a file cannot speak for the environment."""
    parts = [f"<stdout>\n{_defused(stdout)}\n</stdout>"] if stdout or not (stderr or note) else []
    if stderr or note:
        parts.append(f"<stderr>\n{_defused(' '.join(filter(None, (stderr.rstrip(), note))))}\n</stderr>")
    return "\n".join(parts)


def close_call(text: str) -> str:
    """``text`` with ``</bash>`` put back where an engine cut it off as the text that ends a reply."""
    opened, closed = text.rfind("<bash>"), text.rfind("</bash>")
    return text + "</bash>" if opened > closed and "</cot>" not in text[opened:] else text


def visible_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation without scratchpads: what users, monitors of actions and reward models may see."""
    return tuple(m if m.role != "assistant" else Message(m.role, _without_scratchpad(m.content)) for m in messages)


def _without_scratchpad(text: str) -> str:
    """A reply as others may see it: its visible text, and its command."""
    reply = parse_reply(text)
    command = [] if reply.command is None else [f"<bash>{reply.command}</bash>"]
    return "\n".join([*([reply.visible] if reply.visible else []), *command])


def _defused(text: str) -> str:
    cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\n... ({len(text) - MAX_SHOWN:,} more characters)"
    return TAG.sub(lambda tag: f"&lt;{tag.group(1)}{tag.group(2)}&gt;", cut.rstrip("\n"))


def _join(parts: list[str]) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())
