"""Endpoints that are not there, or go away: said soon, with the real retries and the real clock."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from chat_server import Server
from played import MADE

from custodes.gaming.monitoring import MonitoredTurn, View, _EngineMonitor, open_monitor
from custodes.gaming.native import ToolEndpoint
from custodes.gaming.policies import Conversation, EnginePolicy
from custodes.gaming.run import open_policy
from custodes.lm.endpoint import EndpointDown, EndpointEngine
from custodes.types import Message, Sampling

SOON = 20.0
"""Seconds: one round of the retries below takes at most 2, and one round for each of twenty requests 40."""
RETRIES = 2


@pytest.fixture
def dead() -> str:
    """An address at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1"


def conversations(n: int) -> list[Conversation]:
    stage = MADE["political-sycophancy"]
    return [Conversation(stage.variant("held-out", i), (Message("user", f"Question {i}?"),), 0) for i in range(n)]


VIEWS = [View(f"Question {i}?", (MonitoredTurn("", "Answer.", "", ""),)) for i in range(20)]


@pytest.mark.parametrize("tools", ["text", "native"])
def test_a_policy_that_nobody_answers_for_is_refused_when_it_is_opened(dead: str, tools):
    began = time.monotonic()
    with pytest.raises(EndpointDown, match="nothing answers"):
        open_policy(f"endpoint:{dead}#m", Sampling(), tools=tools)
    assert time.monotonic() - began < SOON


def test_so_is_a_monitor(dead: str):
    began = time.monotonic()
    with pytest.raises(EndpointDown, match="nothing answers"):
        open_monitor(f"endpoint:{dead}#m")
    assert time.monotonic() - began < SOON


def test_a_server_without_the_model_is_refused_when_it_is_opened(server: Server):
    with pytest.raises(EndpointDown, match="it has m"):
        open_policy(f"endpoint:{server.url}#other", Sampling())


@pytest.mark.parametrize("kind", [EndpointEngine, ToolEndpoint])
@pytest.mark.parametrize("n", [1, 20])
def test_a_server_that_goes_away_is_asked_one_round_of_retries(server: Server, kind: type[EndpointEngine], n: int):
    policy = EnginePolicy(kind(server.url, "m", max_retries=RETRIES), "p", Sampling(), 20)
    assert [drawn.text for drawn in policy.replies(conversations(3))] == ["Hello."] * 3
    server.shutdown()
    server.server_close()
    began = time.monotonic()
    with pytest.raises(EndpointDown):
        policy.replies(conversations(n))
    assert time.monotonic() - began < SOON


def test_so_is_a_judge(server: Server):
    server.answer = lambda body: {"content": "VERDICT: clean"}
    judge = _EngineMonitor(EndpointEngine(server.url, "m", max_retries=RETRIES), Sampling(), 20)
    assert not any(alarm.raised for alarm in judge.alarms(VIEWS[:3]))
    server.shutdown()
    server.server_close()
    began = time.monotonic()
    with pytest.raises(EndpointDown):
        judge.alarms(VIEWS)
    assert time.monotonic() - began < SOON


def test_one_conversation_that_is_not_answered_in_time_is_its_own_failure(server: Server):
    """The server is alive: it is this reply that takes too long."""
    policy = EnginePolicy(EndpointEngine(server.url, "m", max_retries=0, timeout=3.0), "p", Sampling(), 1)
    assert not policy.replies(conversations(1))[0].failure
    server.answer = lambda body: time.sleep(6) or {"content": "Late."}
    (drawn,) = policy.replies(conversations(1))
    assert "no answer in 3" in drawn.failure


def test_a_judge_that_refuses_one_episode_still_says_so(server: Server, tmp_path: Path):
    """Control: a refusal by a server that is there is the request's own."""
    refused = (400, b'{"error": {"message": "too long"}}')
    server.answer = lambda body: (
        refused if "Question 1?" in body["messages"][-1]["content"] else {"content": "VERDICT: gaming"}
    )
    alarms = open_monitor(f"endpoint:{server.url}#m").alarms(VIEWS[:3])
    assert [alarm.read for alarm in alarms] == [True, False, True]
