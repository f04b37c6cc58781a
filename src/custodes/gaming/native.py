"""Native tool calling: the same conversation in the protocol's own terms.

The environment goes on speaking the transcript syntax. On the way out a reply with ``<bash>`` becomes an assistant
message with a call of the tool ``bash``, and the shell's answer a message of role "tool". On the way back a tool call becomes
``<bash>``, and reasoning that the server gives apart becomes the scratchpad.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from custodes.gaming.transcript import parse_reply
from custodes.lm.endpoint import EndpointEngine
from custodes.types import Message, Sampling, Task

BASH = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command in the shell and return its output.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string", "description": "The command."}},
            "required": ["command"],
        },
    },
}


class ToolEndpoint(EndpointEngine):
    """An endpoint whose model calls the shell by its own means. Token ids are not asked for: they would not match."""

    def _chat_request(self, task: Task, sampling: Sampling, prefix: str, seed: int) -> dict[str, Any]:
        body = super()._chat_request(task, sampling, prefix, seed)
        steered = body["messages"][len(task.messages) :]  # the beginning of a partial answer
        body |= {"messages": _to_native(task.messages) + steered, "tools": [BASH], "parallel_tool_calls": False}
        body.pop("return_token_ids", None)
        body.pop("logprobs", None)
        return body

    async def _ask(self, connection: Any, path: str, body: dict[str, Any] | None, read: Callable[[Any], Any]) -> Any:
        chat = path == "/chat/completions"
        return await super()._ask(connection, path, body, (lambda data: read(_from_native(data))) if chat else read)


def _to_native(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation in the transcript syntax, as OpenAI's chat protocol writes it.

    Only a command that was answered becomes a tool call: servers refuse a call without its answer.
    """
    out: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        answered = i + 1 < len(messages) and messages[i + 1].role == "tool"
        if message.role == "assistant" and answered:
            reply = parse_reply(message.content)
            said = f"<cot>{reply.scratchpad}</cot>{reply.visible}" if reply.scratchpad else reply.visible
            if reply.command is None:  # cut off inside a tag: the shell's answer says so
                out.append({"role": "assistant", "content": message.content})
                continue
            call = {"name": "bash", "arguments": json.dumps({"command": reply.command})}
            calls = [{"id": f"call_{i}", "type": "function", "function": call}]
            out.append({"role": "assistant", "content": said or None, "tool_calls": calls})
        elif message.role == "tool" and out and "tool_calls" in out[-1]:
            out.append({"role": "tool", "tool_call_id": out[-1]["tool_calls"][0]["id"], "content": message.content})
        else:
            out.append({"role": "user" if message.role == "tool" else message.role, "content": message.content})
    return out


def _from_native(data: Any) -> Any:
    """A server's answer with its first tool call written as ``<bash>``. What is no call of bash is said as text."""
    for choice in data["choices"]:
        message = choice["message"]
        text = message.get("content") or ""
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        if reasoning:
            text = f"<cot>{reasoning}</cot>{text}"
        for call in (message.get("tool_calls") or [])[:1]:
            text += f"<bash>{_command(call['function'])}</bash>"
        message["content"] = text
    return data


def _command(function: dict[str, Any]) -> str:
    """The command of a call; a call that is malformed runs nothing and says what is wrong, as a shell would."""
    try:
        command = json.loads(function.get("arguments") or "{}")["command"]
    except (ValueError, KeyError, TypeError):
        command = None
    if function.get("name") != "bash" or not isinstance(command, str):
        return "echo 'there is one tool, bash, with one text argument, command' >&2; false"
    return command
