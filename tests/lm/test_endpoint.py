"""The endpoint client against a real server process on the loopback address."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from custodes.lm.endpoint import EndpointEngine, Price
from custodes.types import Episode, InputError, Message, Sampling, Task

SAMPLING = Sampling(max_tokens=8, seed=1)


class Server:
    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.script()

    def script(self, *faults: str, **options: Any) -> None:
        httpx.post(f"{self.root}/script", json={"faults": faults, "options": options}).raise_for_status()

    @property
    def seen(self) -> dict[str, Any]:
        return httpx.get(f"{self.root}/seen").json()

    def engine(self, **options: Any) -> EndpointEngine:
        return EndpointEngine(f"{self.root}/v1", "parrot", **{"backoff": 0.01, "timeout": 20.0, **options})


@pytest.fixture(scope="module")
def process() -> Iterator[int]:
    program = Path(__file__).with_name("server.py")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as server:
        port = int(server.stdout.readline())
        yield port
        server.terminate()


@pytest.fixture
def server(process: int, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Server(process)


def task(number: int = 0) -> Task:
    return Task(f"t{number}", (Message("user", f"question {number}"),))


# ---------------------------------------------------------------- what comes back


def test_replies_of_one_task_lie_side_by_side_and_count_what_they_cost(server: Server) -> None:
    tasks = [task(i) for i in range(3)]
    engine = server.engine(price=Price(prompt=1.0, completion=2.0))
    episodes = engine.generate(tasks, Sampling(n=2, max_tokens=8))
    assert [e.task.id for e in episodes] == ["t0", "t0", "t1", "t1", "t2", "t2"]
    assert len({e.id for e in episodes}) == 6
    for episode in episodes:
        assert episode.messages == (*episode.task.messages, Message("assistant", "word " * 5))
        assert (episode.outcome, episode.policy, episode.actions) == ("stop", "parrot", 0)
        assert episode.cost["prompt_tokens"] == 3
        assert episode.cost["completion_tokens"] == 5
        assert episode.cost["usd"] == pytest.approx(13e-6)
        assert episode.cost["attempts"] == 1
        assert episode.cost["seconds"] > 0
    assert len({body["seed"] for body in server.seen["bodies"]}) == 6


def test_a_reply_cut_at_the_limit_says_so(server: Server) -> None:
    assert server.engine().generate([task()], Sampling(max_tokens=4))[0].outcome == "length"


def test_the_options_of_sampling_are_sent(server: Server) -> None:
    server.script(owned_by="vllm")
    sampling = Sampling(
        temperature=0.7, top_k=5, top_p=0.9, max_tokens=6, min_tokens=2, stop=("a", "b"), stop_ids=(7,), seed=3
    )
    server.engine(api_key="secret").generate([task()], sampling)
    body = server.seen["bodies"][0]
    sent = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "max_tokens": 6, "min_tokens": 2}
    assert sent.items() <= body.items()
    assert (body["stop"], body["stop_token_ids"]) == (["a", "b"], [7])
    assert server.seen["authorization"] == "Bearer secret"


def test_same_seed_asks_for_the_same_replies_whatever_else_is_asked(server: Server) -> None:
    def seeds(seed: int, *tasks: Task) -> list[int]:
        server.script()
        server.engine(concurrency=1).generate(tasks, Sampling(seed=seed, n=2))
        return [body["seed"] for body in server.seen["bodies"]]

    both = seeds(1, task(0), task(1))
    assert both[2:] == seeds(1, task(1))
    assert not set(both) & set(seeds(2, task(0), task(1)))
    assert len(set(seeds(1, task(0), task(0)))) == 4


# ---------------------------------------------------------------- servers with vLLM's additions


def test_token_ids_and_logprobs_are_kept(server: Server) -> None:
    server.script(owned_by="vllm")
    [episode] = server.engine().generate([task()], SAMPLING)
    assert episode.token_ids.tolist() == [11, 12, 13, 20, 21, 22, 23, 24]
    assert episode.action_mask.tolist() == [False] * 3 + [True] * 5
    assert episode.logprobs.tolist() == [0, 0, 0, -0.5, -1.5, -2.5, -3.5, -4.5]
    assert (episode.token_ids.dtype, episode.logprobs.dtype) == (np.int32, np.float32)


def test_logprobs_that_the_server_does_not_know_are_nan(server: Server) -> None:
    server.script(owned_by="vllm")
    [episode] = server.engine().generate([task()], Sampling(temperature=0.5))
    assert np.isnan(episode.logprobs[episode.action_mask]).all()
    assert (episode.logprobs[~episode.action_mask] == 0).all()


def test_prefixes_are_continued(server: Server) -> None:
    server.script(owned_by="vllm")
    [episode] = server.engine().generate([task()], SAMPLING, prefixes=["It begins: "])
    assert episode.completion == "It begins: " + "word " * 5
    body = server.seen["bodies"][0]
    assert body["messages"][-1] == {"role": "assistant", "content": "It begins: "}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_given_tokens_are_scored_at_their_actions(server: Server) -> None:
    server.script(owned_by="vllm")
    mask = np.array([False, False, True, False, True])
    ids, none = np.arange(5, dtype=np.int32), np.zeros(5, np.float32)
    episode = Episode("e", task(), task().messages, ids, mask, none, "stop", "parrot")
    [scores] = server.engine().logprobs([episode])
    np.testing.assert_allclose(scores, [0, 0, -0.02, 0, -0.04], rtol=1e-6)
    with pytest.raises(InputError, match=r"at temperature 1; 0\.5 was asked for"):
        server.engine().logprobs([episode], temperature=0.5)
    with pytest.raises(InputError, match=r"episode \w+ has no token ids"):
        server.engine().logprobs(server.engine(extensions=False).generate([task()], SAMPLING))


@pytest.mark.parametrize(
    ("sampling", "prefixes", "named"),
    [
        (SAMPLING, ["It begins"], "continuing a partial answer"),
        (Sampling(top_k=3), None, "top_k"),
        (Sampling(min_tokens=3), None, "min_tokens"),
        (Sampling(stop_ids=(3,)), None, "stop_ids"),
    ],
)
def test_a_plain_server_refuses_what_it_does_not_have(
    server: Server, sampling: Sampling, prefixes: list[str] | None, named: str
) -> None:
    with pytest.raises(InputError, match=f"does not offer {named}: .*extensions=True"):
        server.engine().generate([task()], sampling, prefixes)
    assert server.seen["bodies"] == []


def test_a_plain_server_scores_no_tokens(server: Server) -> None:
    one, none = np.ones(1, np.int32), np.zeros(1, np.float32)
    episode = Episode("e", task(), task().messages, one, one > 0, none, "stop", "parrot")
    with pytest.raises(InputError, match="cannot score given tokens"):
        server.engine().logprobs([episode])


# ---------------------------------------------------------------- trouble


@pytest.mark.parametrize("fault", ["429", "500", "garbage", "empty", "drop", "slow"])
def test_trouble_is_retried(server: Server, fault: str) -> None:
    server.script(fault, fault)
    [episode] = server.engine(timeout=0.5 if fault == "slow" else 20.0).generate([task()], SAMPLING)
    assert (episode.outcome, episode.cost["attempts"]) == ("stop", 3)


def test_waits_double(server: Server) -> None:
    server.script("500", "500", "500")
    server.engine(backoff=0.2).generate([task()], SAMPLING)
    waits = [after - before for before, after in itertools.pairwise(server.seen["times"])]
    for wait, longest in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= wait < longest + 0.3  # jitter takes up to half off; requests take time


def test_retry_after_is_honoured(server: Server) -> None:
    server.script("429 wait")
    server.engine().generate([task()], SAMPLING)
    first, second = server.seen["times"]
    assert second - first >= 1.0


def test_a_reply_that_keeps_failing_is_kept_as_an_error(server: Server) -> None:
    server.script(*["500"] * 3)
    episodes = server.engine(max_retries=2, concurrency=1).generate([task(0), task(1)], SAMPLING)
    assert [e.outcome for e in episodes] == ["error", "stop"]
    assert (episodes[0].completion, episodes[0].cost["attempts"]) == ("", 3)
    server.script(*["garbage"] * 2)
    [episode] = server.engine(max_retries=1).generate([task()], SAMPLING)
    assert episode.outcome == "error"


def test_a_refused_request_is_not_repeated(server: Server) -> None:
    server.script("400")
    episodes = server.engine(concurrency=1).generate([task(0), task(1)], SAMPLING)
    assert [e.outcome for e in episodes] == ["error", "stop"]
    assert len(server.seen["bodies"]) == 2
    server.script("400")
    with pytest.raises(InputError, match=r"every request to .* failed; the first: status 400, scripted 400\.$"):
        server.engine().generate([task()], SAMPLING)


def test_no_more_requests_at_once_than_allowed(server: Server) -> None:
    server.script(together=4)
    server.engine(concurrency=4).generate([task(i) for i in range(12)], SAMPLING)
    assert server.seen["most_at_once"] == 4


def test_nothing_answers() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        engine = EndpointEngine(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", "m", max_retries=1, backoff=0.01)
        with pytest.raises(InputError, match=r"nothing answers at http://127.* \(.+\); check the address\.$"):
            engine.generate([task()], SAMPLING)


def test_refused_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script(key="right")
    with pytest.raises(
        InputError, match=r"^the server at \S+ refuses the API key \(status 401\); give api_key or set OPENAI_API_KEY"
    ):
        server.engine(api_key="wrong").generate([task()], SAMPLING)
    assert "wrong" not in repr(server.engine(api_key="wrong"))
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    assert server.engine().generate([task()], SAMPLING)[0].outcome == "stop"


def test_unknown_model_and_path(server: Server) -> None:
    with pytest.raises(InputError, match=r"does not have the model 'gpt'; it has parrot"):
        EndpointEngine(f"{server.root}/v1", "gpt").generate([task()], SAMPLING)
    with pytest.raises(InputError, match=r"^the server .* or the path /chat/completions \(status 404, Not Found\)"):
        EndpointEngine(f"{server.root}/v2", "parrot").generate([task()], SAMPLING)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"concurrency": 0}, {"max_retries": -1}])
def test_impossible_options(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        EndpointEngine("http://127.0.0.1/v1", "m", **options)
    with pytest.raises(InputError, match="must begin with http"):
        EndpointEngine("127.0.0.1/v1", "m")


def test_works_inside_a_running_loop(server: Server) -> None:
    async def notebook() -> list[Episode]:
        return server.engine().generate([task()], SAMPLING)

    assert asyncio.run(notebook())[0].outcome == "stop"
