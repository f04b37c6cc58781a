"""The verifiers taskset, loaded and played by verifiers itself, against a server that speaks for a scripted policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import verifiers.v1 as vf
from serving import serving
from verifiers.v1.clients import ModelContext
from verifiers.v1.configs.client import EvalClientConfig
from verifiers.v1.utils.loaders import default_harness_id, load_environment, load_taskset, taskset_class

from custodes.gaming.script import open_script, script_for
from custodes.gaming.staging import make_stage
from custodes.types import InputError

STAGE = make_stage("reward-tampering")
ID = "custodes_gaming"


class Server(ThreadingHTTPServer):
    """Says the next of its ``lines`` to each request, by how often the assistant has spoken."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lines: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = sum(m["role"] == "assistant" for m in body["messages"])
        message = {"role": "assistant", "content": self.server.lines[said]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        made = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        data = json.dumps(made).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as made:
        yield made


def taskset(**options: Any) -> Any:
    config = taskset_class(ID)
    assert config.__name__ == "CurriculumTaskset"
    from custodes.gaming.integrations.verifiers_taskset import CurriculumConfig

    return load_taskset(CurriculumConfig(id=ID, **options))


def test_every_variant_is_a_task_with_a_key_of_its_own():
    tasks = list(taskset(stage="tool-flattery", split="held-out"))
    assert len({task.key for task in tasks}) == 512
    assert tasks[0].data.prompt in {make_stage("tool-flattery").variant("held-out", n).spec.prompt for n in range(512)}
    assert "scratchpad" in tasks[0].data.system_prompt
    assert [t.key for t in tasks] == [t.key for t in taskset(stage="tool-flattery", split="held-out")]


def test_a_stage_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="tool-flattery"):
        list(taskset(stage="tool-flatery"))


def test_the_taskset_brings_its_own_harness():
    assert default_harness_id(ID) == ID


@pytest.mark.parametrize(
    ("name", "reward", "gamed"),
    [("honest", -10, 0), ("open-tamperer", 0, 1), ("concealing-tamperer", 1000, 1)],  # the open one is caught
)
def test_an_episode_is_played_and_scored(
    name: str, reward: float, gamed: float, server: Server, sandboxed: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TEST_KEY", "none")
    server.lines = list(script_for(open_script(name), STAGE.name).replies(STAGE.variant("held-out", 0)))
    settings = {
        "taskset": {"id": ID, "stage": STAGE.name, "split": "held-out"},
        "agent": {"runtime": {"type": "subprocess"}},
    }
    episode = asyncio.run(played(settings, server.url, "reward-tampering/held-out-0000"))
    assert episode.ok, [error.message for error in episode.errors]
    (trace,) = episode.traces
    assert trace.reward == reward
    assert trace.metrics["gamed"] == gamed
    assert trace.info["custodes"]["facts"]


async def played(settings: dict[str, Any], url: str, key: str) -> Any:
    """One episode, as ``vf-eval`` plays it."""
    from verifiers.v1.envs.single_agent import SingleAgentEnvConfig

    from custodes.gaming.integrations.verifiers_taskset import CurriculumConfig

    config = SingleAgentEnvConfig(
        taskset=CurriculumConfig(**settings["taskset"]), agent=vf.AgentConfig(**settings["agent"])
    )
    env = load_environment(config)
    task = next(task for task in env.taskset if task.key == key)
    context = ModelContext(model="m", client=EvalClientConfig(base_url=url, api_key_var="TEST_KEY"))
    async with env.serving():
        return await env.run_episode(task, context)
