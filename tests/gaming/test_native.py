"""Native tool calling: the same environment in another protocol, against a real server on the loopback address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import Server
from played import MADE

from custodes.gaming import EnvironmentOptions, Records, Runner, open_policy
from custodes.gaming.native import _from_native, _to_native
from custodes.gaming.record import read_lines
from custodes.gaming.run import _jobs_of
from custodes.types import InputError, Message, Sampling

STAGE = "tool-flattery"


def call(command: str) -> dict[str, Any]:
    function = {"name": "bash", "arguments": json.dumps({"command": command})}
    return {"content": None, "tool_calls": [{"id": "x1", "type": "function", "function": function}]}


def run(folder: Path, server: Server, n: int, tools: Any) -> list[dict[str, Any]]:
    policy = open_policy(f"endpoint:{server.url}#m", Sampling(max_tokens=64), tools=tools, batch=4)
    policy.engine.backoff = policy.engine.max_retries = 0  # type: ignore[attr-defined]
    runner = Runner(policy, MADE, options=EnvironmentOptions(tools=tools))
    with Records(folder, [STAGE]) as records:
        runner.run(_jobs_of(MADE[STAGE], n, "held-out", 0, records.done[STAGE]), records.append)
    return list(read_lines(folder / "episodes.jsonl"))


def flatter(body: dict[str, Any]) -> dict[str, Any]:
    """Saves a 5 wherever the prompt says, in whichever protocol is spoken."""
    path = next(w.strip(".,?~").lstrip("/") for m in body["messages"] for w in m["content"].split()[::-1] if "/" in w and w.count(".") and m["role"] == "user")  # fmt: skip
    if len(body["messages"]) > 2:
        return {"content": "I love it: 5."}
    return call(f"echo 5 > {path}") if "tools" in body else {"content": f"<bash>echo 5 > {path}</bash>"}


def test_the_same_environment_under_both_protocols(tmp_path: Path, server: Server, sandboxed: None):
    server.answer = flatter
    found = {}
    for tools in ("text", "native"):
        (folder := tmp_path / tools).mkdir()
        lines = run(folder, server, 3, tools)
        found[tools] = {
            line["index"]: (line["gamed"], line["facts"], line["calls"], line["well_formed"]) for line in lines
        }
    assert found["text"] == found["native"]
    assert all(gamed and calls == 1 and well for gamed, _, calls, well in found["text"].values())


def test_natively_the_shell_is_a_tool_and_its_answers_are_the_tools(tmp_path: Path, server: Server, sandboxed: None):
    server.answer = flatter
    run(tmp_path, server, 1, "native")
    first, second = server.bodies
    assert first["tools"][0]["function"]["name"] == "bash"
    assert "<bash>" not in json.dumps(first["messages"])
    assert "stop" not in first
    assistant, answer = second["messages"][2:]
    assert answer["role"] == "tool"
    assert answer["tool_call_id"] == assistant["tool_calls"][0]["id"]


def test_conversations_survive_the_way_there_and_back():
    messages = (
        Message("user", "Hi"),
        Message("assistant", "<cot>hm</cot>Let me see.<bash>ls</bash>"),
        Message("tool", "<stdout>\nx\n</stdout>"),
        Message("assistant", "<bash>cut"),
        Message("tool", "<stderr>\nnothing was run\n</stderr>"),
        Message("assistant", "Done."),
    )
    native = _to_native(messages)
    assert [m["role"] for m in native] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    back = _from_native({"choices": [{"message": dict(native[1])}]})["choices"][0]["message"]["content"]
    assert back == messages[1].content


@pytest.mark.parametrize(
    "function",
    [
        {"name": "python", "arguments": "{}"},
        {"name": "bash", "arguments": "not json"},
        {"name": "bash", "arguments": '{"command": 3}'},
    ],
)
def test_a_malformed_call_runs_nothing(function: dict[str, Any]):
    data = {"choices": [{"message": {"content": "Hm.", "tool_calls": [{"function": function}]}}]}
    said = _from_native(data)["choices"][0]["message"]["content"]
    assert said.startswith("Hm.<bash>echo 'there is one tool, bash")


def test_reasoning_that_comes_apart_is_the_scratchpad():
    data = {"choices": [{"message": {"content": "Hello.", "reasoning_content": "be nice"}}]}
    assert _from_native(data)["choices"][0]["message"]["content"] == "<cot>be nice</cot>Hello."


@pytest.mark.parametrize("fault", [(429, b"busy"), (500, b"broken"), (200, b'{"choices": [{"mess')])
def test_a_server_that_fails_now_and_then_costs_an_episode_and_not_the_run(
    tmp_path: Path, server: Server, fault: tuple[int, bytes], sandboxed: None
):
    seen = 0

    def answer(body: dict[str, Any]) -> Any:
        nonlocal seen
        seen += 1
        return fault if seen % 3 == 0 else {"content": "Hello."}

    server.answer = answer
    lines = run(tmp_path, server, 9, "text")
    assert sorted(line["index"] for line in lines) == list(range(9))
    failed = [line for line in lines if line["failure"]]
    assert len(failed) == 3
    assert all("no answer" in line["failure"] for line in failed)


def test_nobody_there_is_one_sentence_before_anything_is_played():
    with pytest.raises(InputError, match=r"nothing answers at http://127\.0\.0\.1:9"):
        open_policy("endpoint:http://127.0.0.1:9/v1#m", Sampling(), batch=4)
