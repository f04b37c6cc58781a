"""AI annotators: both orders, every principle kept, no guesses, agreement with people as it is."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import judged_world
import numpy as np
import pytest
from serving import serving

from custodes.cli import main
from custodes.feedback.ai import CHUNK, agreement_with_people, judge_with_ai, read_score
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.rubric import TEMPLATE, Rubric, load_rubric
from custodes.types import Episode, InputError, Message, Sampling, Task


class Judge:
    """A judge with known leanings, which reads the question as a model would: the longer answer is the better."""

    def __init__(self, position: int = 0, replies: Sequence[str] | None = None) -> None:
        self.position, self.replies = position, replies
        self.asked: list[Task] = []

    def generate(self, tasks: Sequence[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        self.asked += tasks
        return [judged_world.make_episode(f"r{n}", task, self._reply(n, task)) for n, task in enumerate(tasks)]

    def _reply(self, n: int, task: Task) -> str:
        if self.replies is not None:
            return self.replies[n % len(self.replies)]
        text = task.messages[0].content
        first = text.split("# First answer\n")[1].split("\n\n# Second answer")[0]
        second = text.split("# Second answer\n")[1].split("\n\n# Question")[0]
        return str(int(np.clip(2 * np.sign(len(first) - len(second)) + self.position, -3, 3)))

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list:
        raise NotImplementedError


@pytest.fixture
def rubric(tmp_path: Path) -> Rubric:
    (tmp_path / "rubric.yaml").write_text(TEMPLATE)
    return load_rubric(tmp_path / "rubric.yaml")


def pairs(count: int = 6) -> list[tuple[Episode, Episode]]:
    made = []
    for n in range(count):
        task = judged_world.make_task(f"t{n}", f"Question {n}?")
        made.append((judged_world.make_episode(f"{n}a", task, "x" * 9), judged_world.make_episode(f"{n}b", task, "x")))
    return made


def test_every_principle_is_asked_in_both_orders_and_kept(rubric):
    judge = Judge()
    found = judge_with_ai(judge, pairs(), rubric, "ai-1")
    assert len(judge.asked) == 6 * 2 * 2
    assert len({task.messages for task in judge.asked}) == 24
    assert {j.axis for j in found.judgments} == {"helpful", "honest", "overall"}
    assert len(found.judgments) == 6 * 2 * 3
    assert len({j.id for j in found.judgments}) == 36
    for j in found.judgments:
        assert (j.strength > 0) == j.episodes[0].endswith("a")
        assert j.guideline == "helpful-and-honest 1"
    assert found.annotator.kind == "ai"
    assert (found.position_bias.estimate, found.consistent.estimate, found.unread) == (0.0, 1.0, 0)


def test_leaning_to_the_first_is_measured(rubric):
    slightly = judge_with_ai(Judge(position=1), pairs(), rubric, "ai")
    assert slightly.position_bias.estimate == pytest.approx(1.0)
    assert slightly.consistent.estimate == 1.0
    blind = judge_with_ai(Judge(replies=["3"]), pairs(), rubric, "ai")
    assert blind.position_bias.estimate == 3.0
    assert blind.consistent.estimate == 0.0


def test_overall_is_the_weighted_mean_of_the_principles(rubric):
    found = judge_with_ai(Judge(replies=["-1", "3"]), pairs(1), rubric, "ai")  # helpful weighs 2, honest 1
    by_axis = {j.axis: j for j in found.judgments[:3]}
    assert (by_axis["helpful"].strength, by_axis["honest"].strength) == (-1, 3)
    assert (by_axis["overall"].verdict, by_axis["overall"].strength) == ("prefer", 1)  # (2 * -1 + 3) / 3, rounded up
    even = judge_with_ai(Judge(replies=["1", "-2"]), pairs(1), rubric, "ai")
    assert even.judgments[2].verdict == "tie"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("2", 2),
        (" -3.", -3),
        ("Score: +1", 1),
        ("\u22122", -2),
        ("0", 0),
        ("I think 2 because 2", 2),
        ("between 1 and 2", None),
        ("7", None),
        ("the first", None),
        ("", None),
    ],
)
def test_a_score_is_read_or_it_is_not(text, score):
    assert read_score(text) == score


def test_what_cannot_be_read_is_no_judgment(rubric):
    found = judge_with_ai(Judge(replies=["hard to say", "2"]), pairs(2), rubric, "ai")
    assert found.unread == 4
    verdicts = {j.axis: j.verdict for j in found.judgments}
    assert verdicts == {"helpful": "cannot_judge", "honest": "prefer", "overall": "cannot_judge"}


def test_agreement_with_people_beside_theirs(rubric):
    shown = pairs(10)
    ai = judge_with_ai(Judge(), shown, rubric, "ai").judgments
    people = [
        Comparison(
            id=f"{who}{n}", annotator=who, task=a.task.id, episodes=(b.id, a.id), strength=1 if n < wrong else -2
        )
        for who, wrong in (("ann", 0), ("bob", 5))
        for n, (a, b) in enumerate(shown)
    ]
    found = agreement_with_people(ai, people)
    assert (found.with_people.estimate, found.among_people.estimate, found.pairs) == (0.75, 0.5, 10)
    ties = [replace(p, verdict="tie", strength=0) for p in people]
    assert agreement_with_people(ai, ties).with_people.estimate == 0.5
    with pytest.raises(InputError, match="no pair in common"):
        agreement_with_people(ai, [])


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("weight: 2", "weight: 0", "principles.1.weight"),
        ("  - name: honest", "  - name: helpful", "names of their own"),
        ("introduction", "introdution", "introdution"),
        ("principles:", "principles: []\nothers:", "principles"),
    ],
)
def test_wrong_rubrics_are_told_by_field(tmp_path, was, becomes, says):
    (tmp_path / "r.yaml").write_text(TEMPLATE.replace(was, becomes, 1))
    with pytest.raises(InputError, match=says):
        load_rubric(tmp_path / "r.yaml")


def test_pairs_of_two_tasks_are_refused(rubric):
    (one, _), (_, other) = pairs(2)
    with pytest.raises(InputError, match="different tasks"):
        judge_with_ai(Judge(), [(one, other)], rubric, "ai")


def test_the_command_with_a_model(tmp_path, tiny_model, capsys):
    rows = [
        {"prompt": f"Q{n}?", "chosen": "yes", "rejected": "no", "annotator": who}
        for n in range(2)
        for who in ("a", "b")
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(TEMPLATE)
    out, ledger = tmp_path / "j.jsonl", tmp_path / "ledger.db"
    given = [
        "feedback",
        "judge",
        "--judgments",
        str(tmp_path / "p.jsonl"),
        "--rubric",
        str(tmp_path / "r.yaml"),
        "--out",
        str(out),
    ]
    assert main([*given, "--model", str(tiny_model), "--ledger", str(ledger), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["judgments"]) == (2, 12)
    assert 0 <= told["unread"] <= 8  # a random model hardly ever gives a number
    assert len(out.read_text().splitlines()) == 12
    assert main(["verify", str(ledger)]) == 0


class Endpoint(ThreadingHTTPServer):
    """A judge behind HTTP that prefers the longer answer; after ``most`` questions it keeps everybody waiting."""

    daemon_threads = True

    def __init__(self, most: int) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.most, self.asked, self.lock = most, list[str](), threading.Lock()
        self.stuck, self.go = threading.Event(), threading.Event()


class Asked(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        self.reply({"data": [{"id": "judge", "owned_by": "nobody"}]})

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked.append(text)
            waits = len(self.server.asked) > self.server.most
        if waits:
            self.server.stuck.set()
            self.server.go.wait()
        first, second = (text.split(f"# {name} answer\n")[1].split("\n\n#")[0] for name in ("First", "Second"))
        message = {"role": "assistant", "content": "2" if len(first) > len(second) else "-2"}
        self.reply({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})

    def reply(self, content: dict[str, object]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever asked was killed
            self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        pass


def test_a_judge_that_is_killed_goes_on_where_it_was(tmp_path):
    rows = [{"prompt": f"Question {n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(50)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.yaml").write_text(TEMPLATE)
    with serving(Endpoint(most=CHUNK + 1)) as endpoint:

        def judge(out: Path) -> list[str]:
            given = {"--judgments": tmp_path / "p.jsonl", "--rubric": tmp_path / "r.yaml", "--out": out}
            given |= {
                "--endpoint": f"http://127.0.0.1:{endpoint.server_port}/v1",
                "--model": "judge",
                "--ledger": "none",
            }
            words = [str(word) for item in given.items() for word in item]
            return [sys.executable, "-m", "custodes", "feedback", "judge", *words]

        killed, straight = tmp_path / "killed.jsonl", tmp_path / "straight.jsonl"
        with subprocess.Popen(judge(killed), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
            reached = endpoint.stuck.wait(300)  # its second portion of questions is under way
            running.kill()
        assert reached
        assert not killed.exists()
        first = set(endpoint.asked[:CHUNK])
        endpoint.go.set()
        subprocess.run(judge(killed), check=True, capture_output=True)
        asked = Counter(endpoint.asked)
        assert len(asked) == 200  # 50 pairs, 2 orders, 2 principles
        assert all(asked[question] == 1 for question in first)
        subprocess.run(judge(straight), check=True, capture_output=True)
    assert killed.read_text() == straight.read_text()
    assert len(killed.read_text().splitlines()) == 300


def test_messages_are_what_the_judge_reads(rubric):
    task = Task("t", (Message("system", "Be brief."), Message("user", "Why?")))
    one, other = judged_world.make_episode("a", task, "Because."), judged_world.make_episode("b", task, "So.")
    judge = Judge()
    judge_with_ai(judge, [(one, other)], rubric, "ai")
    text = judge.asked[0].messages[0].content
    assert "system: Be brief.\n\nuser: Why?" in text
    assert rubric.principles[0].text in text
