"""A judge behind a real HTTP server as the reward of an optimisation; it dies on the way, and the run goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from serving import JsonHandler, serving

from custodes.ledger import Ledger, verify_ledger
from custodes.lm.address import open_endpoint
from custodes.lm.loading import load
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.policy import OptimiseConfig
from custodes.types import InputError, Sampling

RUBRIC = """\
name: vowels
version: "1"
grade: 1-7
principles:
  - name: many
    text: Are there many vowels?
    weight: 3
  - name: short
    text: Is it short?
"""


class Judge(ThreadingHTTPServer):
    """Grades an answer by its text alone; after ``most`` questions it answers nobody any more."""

    daemon_threads = True

    def __init__(self, port: int = 0, most: int = 10**9) -> None:
        super().__init__(("127.0.0.1", port), Asked)
        self.most, self.asked, self.lock = most, 0, threading.Lock()


class Asked(JsonHandler, BaseHTTPRequestHandler):
    server: Judge

    def do_GET(self) -> None:
        self.reply({"data": [{"id": "judge", "owned_by": "nobody"}]})

    def do_POST(self) -> None:
        body = self.asked_for()
        with self.server.lock:
            self.server.asked += 1
            dead = self.server.asked > self.server.most
        if dead:
            self.close_connection = True
            return  # the connection ends without an answer
        text = body["messages"][-1]["content"]
        answer = text.split("# Answer\n")[1].split("\n\n# Question")[0]
        grade = min(7, 1 + sum(c in "aeiou" for c in answer)) if "vowels" in text else max(1, 7 - len(answer) // 8)
        choice = {"message": {"role": "assistant", "content": str(grade)}, "finish_reason": "stop"}
        self.reply({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    quick = partial(open_endpoint, max_retries=1, backoff=0.01)  # a dead server is found dead at once
    monkeypatch.setattr("custodes.reward.options.open_endpoint", quick)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    rows = [{"prompt": f"Say something about {i}, please."} for i in range(20)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    with serving(Judge()) as server:
        yield server


def config(world: Path, model: Path, judge: Judge, out: str) -> PolicyOptimise:
    sampling = Sampling(n=3, max_tokens=8)
    optimisation = OptimiseConfig(
        algorithm="grpo", steps=3, tasks_per_step=4, learning_rate=1e-2, sampling=sampling, checkpoint_every=1
    )
    return PolicyOptimise(
        out=world / out,
        tasks=str(world / "prompts.jsonl"),
        model=str(model),
        reward=(f"endpoint:http://127.0.0.1:{judge.server_address[1]}/v1#judge",),
        rubric=world / "rubric.yaml",
        optimisation=optimisation,
        measure_on=4,
        evaluate_every=10,
    )


def test_every_principle_is_asked_of_every_reply_and_recorded(tmp_path: Path, tiny_model: Path, judge: Judge) -> None:
    (gain,) = policy_optimise(config(tmp_path, tiny_model, judge, "out")).seeds
    assert judge.asked == 2 * (4 + 3 * 4 * 3 + 4)  # two principles: held out before, three steps, held out after
    assert 0 <= gain.before.low <= gain.before.high <= 1
    with Ledger.open(tmp_path / "out/ledger.db", read_only=True) as ledger:
        scores = list(ledger.scores(ledger.runs()[-1].id))
    assert len(scores) == 4 + 3 * 4 * 3 + 4
    for score in scores:
        assert score.value == pytest.approx((3 * score.parts["many"] + score.parts["short"]) / 4)


@pytest.mark.parametrize("most", [8, 20, 50])
def test_a_judge_that_dies_is_one_sentence_and_the_run_goes_on_with_the_next(
    tmp_path: Path, tiny_model: Path, judge: Judge, most: int
) -> None:
    policy_optimise(config(tmp_path, tiny_model, judge, "straight"))
    port, asked = judge.server_address[1], judge.asked
    judge.asked, judge.most = 0, most  # in the middle of a step, and just before one
    with pytest.raises(InputError, match=r"step \d: .*(did not answer|failed).*the same command goes on from here"):
        policy_optimise(config(tmp_path, tiny_model, judge, "out"))
    judge.most = 10**9
    assert judge.server_address[1] == port
    policy_optimise(config(tmp_path, tiny_model, judge, "out"))
    assert judge.asked > asked / 2
    assert load(tmp_path / "out").fingerprint() == load(tmp_path / "straight").fingerprint()
    assert verify_ledger(tmp_path / "out/ledger.db").ok
