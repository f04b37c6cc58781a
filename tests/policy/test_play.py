"""Episodes of several turns: what is an action, what learns from it, and that they come again the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_policy import EvenTokens, adapted, some_tasks

from custodes.lm.decode import TILE
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.lm.pages import page_bytes
from custodes.policy import OptimiseConfig, optimise
from custodes.policy.learner import Reference
from custodes.policy.play import EnvironmentEngine
from custodes.types import Episode, InputError, Message, Sampling, Scores, Task

SAMPLING = Sampling(n=3, max_tokens=10, stop_ids=tuple(range(0, 300, 12)))


class Turns:
    """Answers as often as the task's number says, and counts what it was told."""

    prefix = ""

    def __init__(self, task: Task) -> None:
        self.left = int(task.id.removeprefix("task-")) % 4
        self.heard: list[str] = []
        self.failure, self.closed = "", 0

    def start(self, task: Task) -> tuple[Message, ...]:
        return task.messages

    def step(self, reply: str) -> tuple[Message, ...] | None:
        self.heard.append(reply)
        if len(self.heard) > self.left:
            return None
        return (Message("user", f"That was reply {len(self.heard)}."),)

    def fail(self, why: str) -> None:
        self.failure = why

    def close(self) -> None:
        self.closed += 1


class Breaks(Turns):
    def step(self, reply: str) -> tuple[Message, ...] | None:
        if self.heard:
            raise OSError("the sandbox is gone")
        return super().step(reply)


def engine(tiny_model: Path, make=Turns, **more) -> EnvironmentEngine:
    return EnvironmentEngine(TorchEngine(load(tiny_model, dtype="float32")), make, **more)


@pytest.fixture(scope="module")
def played(tiny_model: Path) -> tuple[EnvironmentEngine, list[Episode]]:
    playing = engine(tiny_model)
    return playing, playing.generate(some_tasks(4), SAMPLING)


def test_actions_are_what_was_sampled_and_answers_are_not(played) -> None:
    playing, episodes = played
    lm = playing.lm
    for episode in episodes:
        environment = playing.played[episode.id]
        assert len(environment.heard) == environment.left + 1
        rest = lm.tokenizer.decode(episode.token_ids[~episode.action_mask])
        assert [f"That was reply {k}." in rest for k in range(1, 4)] == [k <= environment.left for k in range(1, 4)]
        assert episode.completion == environment.heard[-1]
        assert [m.content for m in episode.messages if m.role == "assistant"] == environment.heard
        assert not episode.logprobs[~episode.action_mask].any()
        assert environment.closed


def test_the_learner_finds_the_samplers_log_probabilities_in_every_turn(played) -> None:
    playing, episodes = played
    for episode, found in zip(episodes, playing.logprobs(episodes), strict=True):
        assert np.allclose(found, episode.logprobs, atol=1e-4)


def test_replies_are_those_that_the_whole_conversation_as_a_prompt_gives(tiny_model: Path) -> None:
    """Nothing of a conversation is computed twice, and nothing is drawn differently for that."""
    playing = engine(tiny_model)
    plain, seen = TorchEngine(playing.lm), set()
    for episode in playing.generate(some_tasks(6), replace(SAMPLING, n=1)):
        starts = np.flatnonzero(np.diff(episode.action_mask.astype(int)) == 1) + 1
        for start in starts:
            if (before := episode.token_ids[:start].tobytes()) in seen:
                continue  # asking again for the same conversation draws anew
            seen.add(before)
            again = plain.generate([episode.task], replace(SAMPLING, n=1), prompts=[episode.token_ids[:start]])[0]
            assert again.token_ids.tolist() == episode.token_ids[: len(again.token_ids)].tolist()
    assert len(seen) > 8


def test_small_batches_play_the_same_episodes(played, tiny_model: Path) -> None:
    _, episodes = played
    narrow = EnvironmentEngine(TorchEngine(load(tiny_model, dtype="float32"), max_batch=2), Turns)
    again = narrow.generate(some_tasks(4), SAMPLING)
    assert [e.token_ids.tolist() for e in again] == [e.token_ids.tolist() for e in episodes]


class Talks(Turns):
    """Answers seven times, at length."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.left = 7

    def step(self, reply: str) -> tuple[Message, ...] | None:
        answer = super().step(reply)
        return answer and (Message("user", " ".join(f"word {k}" for k in range(12))),)


def test_conversations_that_outgrow_the_memory_are_not_computed_again_at_every_turn(tiny_model: Path) -> None:
    """Twelve conversations, of which less than half fit at their full length."""
    lm = load(tiny_model, dtype="float32")

    def play(pages: int) -> tuple[list[list[int]], int]:
        """Tokens of the episodes, and how many went through the model."""
        sampler = TorchEngine(lm, max_batch=12, cache_gb=pages * page_bytes(lm.decoder) / 2**30)
        stream = sampler.stream(SAMPLING)
        sampler.stream = lambda sampling: stream
        episodes = EnvironmentEngine(sampler, Talks).generate(some_tasks(4), SAMPLING)
        return [e.token_ids.tolist() for e in episodes], stream.computed

    (roomy, once), (tight, computed) = play(2000), play(100)
    assert 12 * max(len(ids) for ids in roomy) > 100 * TILE
    assert tight == roomy
    assert computed < 1.3 * once


def test_the_same_seed_plays_the_same_episodes(played, tiny_model: Path) -> None:
    _, episodes = played
    again = engine(tiny_model, workers=1).generate(some_tasks(4), SAMPLING)
    assert [e.id for e in again] == [e.id for e in episodes]
    assert [e.token_ids.tolist() for e in again] == [e.token_ids.tolist() for e in episodes]
    other = engine(tiny_model).generate(some_tasks(4), replace(SAMPLING, seed=1))
    assert not {e.id for e in other} & {e.id for e in episodes}
    assert len({e.id for e in episodes}) == len(episodes) == 12


def test_tasks_without_an_environment_end_with_their_first_reply(tiny_model: Path) -> None:
    playing = engine(tiny_model, lambda task: Turns(task) if task.id == "task-1" else None)
    episodes = playing.generate(some_tasks(2), SAMPLING)
    plain = TorchEngine(playing.lm).generate(some_tasks(2), SAMPLING)
    assert [e.token_ids.tolist() for e in episodes[:3]] == [e.token_ids.tolist() for e in plain[:3]]
    assert playing.played.keys() == {e.id for e in episodes[3:]}


def test_an_episode_that_grows_too_long_fails_alone(tiny_model: Path) -> None:
    tasks = [replace(t, messages=some_tasks(1)[0].messages) for t in some_tasks(4)]
    room = len(load(tiny_model, dtype="float32").encode(tasks[0].messages)) + 60
    playing = engine(tiny_model, max_episode=room)
    episodes = playing.generate(tasks, SAMPLING)
    failed = [bool(playing.played[e.id].failure) for e in episodes]
    assert any(failed)
    assert not any(failed[:3])
    assert all(len(e.token_ids) <= room for e in episodes)
    assert all(e.messages[-1].role == "assistant" for e in episodes)
    with pytest.raises(InputError, match=r"task-0.* exceed the 20 tokens"):
        engine(tiny_model, max_episode=20).generate(tasks, SAMPLING)


def test_an_environment_that_breaks_fails_its_own_episode(tiny_model: Path) -> None:
    playing = engine(tiny_model, lambda task: (Breaks if task.id == "task-2" else Turns)(task))
    episodes = playing.generate(some_tasks(4), SAMPLING)
    for episode in episodes:
        broke = "the sandbox is gone" in playing.played[episode.id].failure
        assert broke == (episode.task.id == "task-2")


def test_stop_texts_are_heard_and_how_replies_begin_is_the_environments(tiny_model: Path) -> None:
    class Steered(Turns):
        @property
        def prefix(self) -> str:
            return "The quick" if not self.heard else ""

    playing = engine(tiny_model, Steered)
    for episode in playing.generate(some_tasks(2), Sampling(n=2, max_tokens=20, stop=("e",))):
        heard = playing.played[episode.id].heard
        assert heard[0].startswith("The quick")
        assert all(reply.count("e") == (1 if reply.endswith("e") else 0) for reply in [heard[0][9:], *heard[1:]])
    with pytest.raises(InputError, match="no prefixes"):
        playing.generate(some_tasks(1), SAMPLING, ["a"])


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "expert_iteration"])
def test_the_loop_learns_over_several_turns(tiny_model: Path, algorithm: str) -> None:
    lm = adapted(tiny_model)
    config = OptimiseConfig(
        algorithm=algorithm,
        steps=12,
        tasks_per_step=4,
        sampling=replace(SAMPLING, n=8),
        learning_rate=2e-2,
        kl_coefficient=0.0,
    )
    result = optimise(
        lm, some_tasks(4), EvenTokens(), config, engine=EnvironmentEngine(TorchEngine(lm), Turns), progress=False
    )
    assert result.metrics[0]["sampler_gap_max"] < 1e-3
    if algorithm != "expert_iteration":
        assert result.metrics[0]["update_kl"] == pytest.approx(0, abs=1e-9)  # one update: its ratio is exactly 1
    assert result.metrics[-1]["proxy"] > result.metrics[0]["proxy"] + 0.1


class Nothing:
    """No episode is worth anything."""

    def score(self, episodes) -> Scores:
        return Scores(np.zeros(len(episodes)))


def test_without_a_success_the_policy_stays_as_it_is(tiny_model: Path) -> None:
    lm = adapted(tiny_model)
    before = lm.fingerprint()
    config = OptimiseConfig(
        algorithm="all_successes", steps=2, tasks_per_step=4, sampling=SAMPLING, learning_rate=2e-2, kl_coefficient=0.0
    )
    result = optimise(lm, some_tasks(4), Nothing(), config, engine=TorchEngine(lm), progress=False)
    assert [m["kept"] for m in result.metrics] == [0, 0]
    assert lm.fingerprint() == before
    result = optimise(lm, some_tasks(4), EvenTokens(), config, engine=TorchEngine(lm), progress=False)
    assert result.metrics[0]["kept"] > 0.5
    assert lm.fingerprint() != before


def test_the_reference_can_be_another_policy(tiny_model: Path) -> None:
    lm, start = adapted(tiny_model), adapted(tiny_model)
    config = OptimiseConfig(steps=2, tasks_per_step=4, sampling=SAMPLING, learning_rate=2e-2)
    optimise(lm, some_tasks(4), EvenTokens(), config, engine=TorchEngine(lm), progress=False)
    kl = []
    for reference in (None, Reference.of(start)):
        again = adapted(tiny_model)
        again.adapter.restore(lm.adapter.tensors(), "the policy so far")
        again.refresh()
        more = replace(config, steps=1)
        found = optimise(
            again, some_tasks(4), EvenTokens(), more, engine=TorchEngine(again), reference=reference, progress=False
        )
        kl.append(found.metrics[0]["kl"])
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert abs(kl[1]) > 1e-4
