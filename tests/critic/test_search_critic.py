"""The search in a review: quotes that a scorer proposes, confidence, the modifier, and models behind an endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scored_lines import WordScorer
from serving import serving

from custodes.critic.choice import CriticChoice
from custodes.critic.loading import open_critic
from custodes.critic.review.critics import SampledCritic, SearchCritic, proposed_quotes
from custodes.critic.review.remarks import EngineDied
from custodes.critic.review.snippets import Snippet
from custodes.critic.search import SearchConfig, force_sampling_beam_search
from custodes.feedback.critique import parse_critique
from custodes.lm.endpoint import EndpointEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import Episode, InputError, Message, Scores, Task

CODE = "def last(items):\n    n = len(items)\n    return items[n]"
SNIPPET = Snippet("f.py", 11, CODE, "last")
CONFIG = SearchConfig(rounds=2, samples=2, beams=1, max_tokens=10)


class FindingsLiked:
    """A reward for every finding, so that the longest critique is the best."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([float(len(parse_critique(e.completion).findings)) for e in episodes]))


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


def test_proposed_quotes_are_forced_one_a_round_and_then_the_model_quotes_itself(lm: LanguageModel):
    quotes = ["    return items[n]", "    n = len(items)"]
    task = Task("t", (Message("user", CODE),))
    found = force_sampling_beam_search(lm, task, CODE, FindingsLiked(), replace(CONFIG, rounds=3), quotes)
    for candidate in found.candidates:
        assert [f.quote for f in candidate.critique.findings[:2]] == quotes[: candidate.round]
        assert candidate.highlights >= min(candidate.round, 2)
    assert any(len(c.critique.findings) > 2 for c in found.candidates if c.round == 3)


def test_lines_are_proposed_while_they_are_about_as_likely_as_the_one_before():
    assert proposed_quotes("a\nb\nc\nd", np.array([0.1, 0.5, 0.3, 0.0]), 4) == ["b", "c"]
    assert proposed_quotes("a\nb\nc", np.array([0.3, 0.3, 0.3]), 2) == ["a", "b"]
    assert proposed_quotes("a\na", np.array([0.5, 0.5]), 4) == ["a"]
    assert proposed_quotes("x = '```'\nb", np.array([0.5, 0.4]), 4) == ["b"]
    assert proposed_quotes("a", np.zeros(1), 4) == []


def test_with_a_scorer_its_lines_are_quoted_with_its_probabilities(lm: LanguageModel):
    scorer = WordScorer({"items[n]": 0.6, "len": 0.1})
    critic = SearchCritic(lm, FindingsLiked(), "x", CONFIG, scorer)
    first, *_ = critic.review(SNIPPET)
    assert first.finding.quote == "    return items[n]"
    assert (first.places[0].start, first.confidence) == (13, pytest.approx(0.6))
    assert first.score >= 0


def test_a_modifier_of_the_other_sign_is_no_reason_to_hide_what_was_chosen(lm: LanguageModel):
    critic = SearchCritic(lm, FindingsLiked(), "x", replace(CONFIG, modifier=-0.5), WordScorer({"items[n]": 0.6}))
    assert all(remark.score - 0.5 >= 0 for remark in critic.review(SNIPPET))


def test_code_longer_than_the_context_is_searched_in_pieces(lm: LanguageModel):
    long = Snippet("f.py", 1, "\n".join(f"v{i} = {i}" for i in range(40)), "module")
    remarks = SearchCritic(lm, FindingsLiked(), "x", CONFIG, WordScorer({"v3": 0.2, "v38": 0.5})).review(long)
    lines = long.code.split("\n")
    assert {r.finding.quote for r in remarks} >= {"v38 = 38"}
    assert all(lines[p.start - 1] == r.finding.quote for r in remarks for p in r.places)


# ---------------------------------------------------------------- endpoints


class Chat(BaseHTTPRequestHandler):
    """Goes on with partial answers as vLLM does: the reply is what comes after the last message."""

    owner = "vllm"
    bodies: list[dict] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self._send({"data": [{"id": "m", "owned_by": self.owner}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        partial = body["messages"][-1]["role"] == "assistant"
        said = "    return items[n]\n```\nOne too far." if partial else "```\n    return items[n]\n```\nToo far."
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop", "token_ids": [1]}
        choice["logprobs"] = {"content": [{"token": "x", "logprob": -1.0}]}
        self._send({"choices": [choice], "usage": {"completion_tokens": 1}, "prompt_token_ids": [1, 2]})

    def _send(self, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Chat]]]:
    kind = type("Own", (Chat,), {"bodies": []})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), kind)) as made:
        yield f"http://127.0.0.1:{made.server_address[1]}/v1", kind


def test_a_model_behind_an_endpoint_is_searched_through_its_partial_answers(server: tuple[str, type[Chat]]):
    url, chat = server
    engine = EndpointEngine(url, "m")
    assert engine.continues()
    (remark,) = SearchCritic(engine, FindingsLiked(), url, CONFIG).review(SNIPPET)
    assert (remark.finding.quote, remark.finding.comment) == ("    return items[n]", "One too far.")
    assert remark.confidence == pytest.approx(1.0)  # every candidate quotes it
    assert len(chat.bodies) == CONFIG.candidates
    assert all(b["continue_final_message"] and "```python\n" in b["messages"][-1]["content"] for b in chat.bodies)


def test_an_endpoint_that_cannot_go_on_gets_whole_critiques_and_one_sentence(
    server: tuple[str, type[Chat]], tuned: Path
):
    url, chat = server
    chat.owner = "somebody"
    with pytest.warns(UserWarning, match="does not go on with partial answers, which a search needs"):
        critic = open_critic(CriticChoice(critic=tuned, model=f"endpoint:{url}#m", search=True))
    assert isinstance(critic, SampledCritic)
    assert critic.review(SNIPPET)[0].finding.comment == "Too far."
    chat.owner = "vllm"
    assert isinstance(open_critic(CriticChoice(critic=tuned, model=f"endpoint:{url}#m", search=True)), SearchCritic)


def test_an_endpoint_that_is_gone_is_dead_and_not_an_error_of_the_command():
    engine = EndpointEngine("http://127.0.0.1:9/v1", "m", max_retries=0, extensions=True)
    with pytest.raises(EngineDied):
        SearchCritic(engine, FindingsLiked(), "x", CONFIG).review(SNIPPET)


# ---------------------------------------------------------------- which critic a folder is


def test_a_folder_is_taken_for_what_was_trained_in_it(tuned: Path, tiny_scorer: Path, tiny_model: Path, tmp_path: Path):
    from custodes.critic.review.critics import LikelihoodCritic, LineCritic

    assert isinstance(open_critic(CriticChoice(critic=tuned)), LikelihoodCritic)
    assert isinstance(open_critic(CriticChoice(critic=tuned, search=True)), SearchCritic)
    assert isinstance(open_critic(CriticChoice(critic=tiny_scorer), strictness=0.5), LineCritic)
    assert isinstance(open_critic(CriticChoice(model=str(tiny_model))), LikelihoodCritic)
    with pytest.raises(InputError, match="is no critic"):
        open_critic(CriticChoice(critic=tmp_path))
    with pytest.raises(InputError, match="--search needs a reward"):
        open_critic(CriticChoice(critic=tiny_scorer, search=True))
    with pytest.raises(InputError, match="names no model"):
        open_critic(CriticChoice(model="endpoint:http://x/v1"))


def test_the_critic_that_comes_along_is_the_default(tiny_scorer: Path, monkeypatch: pytest.MonkeyPatch):
    from custodes.critic import loading as critic_loading
    from custodes.critic.review.critics import LineCritic

    monkeypatch.setattr(critic_loading, "shipped_critic", lambda: tiny_scorer)
    assert isinstance(open_critic(CriticChoice()), LineCritic)
