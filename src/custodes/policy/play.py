"""Episodes of several turns: an engine that plays its tasks in environments, for the one optimisation loop.

As many episodes as fit a batch are open at once. Each goes on as soon as its environment has answered, and the next
takes the place of one that ends: nobody waits for the longest. What was said before is not computed again
(:class:`custodes.lm.stream.Stream`). Environments answer in threads while other replies are drawn, and an answer is taken
up one pass after its reply ended and not sooner or later: nothing depends on the clock, and a run that was interrupted
draws the same episodes again. Every token that the policy sampled is an action, in whichever turn; what the environments
say is not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.environments.own import BrokenEnvironment
from custodes.feedback.oversight import OverseerLost
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.lm.requests import Request, make_request
from custodes.policy.turns import answer_ids
from custodes.types import Environment, Episode, InputError, Message, Outcome, Sampling, Task, located


class Playable(Environment, Protocol):
    """An environment that episodes are played in: one instance for one episode."""

    @property
    def prefix(self) -> str:
        """How the next reply must begin; "" where it is free."""
        ...

    def fail(self, why: str) -> None:
        """The episode cannot go on; judge it as it stands."""
        ...

    def close(self) -> None: ...


MakeEnvironment = Callable[[Task], Playable | None]
"""A new environment for an episode of a task; None for a task that its first reply ends."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """One episode in the making."""

    task: Task
    environment: Playable | None
    messages: list[Message]
    ids: list[NDArray[np.int32]]  # prompt, reply, answer, reply, ...
    logprobs: list[NDArray[np.float32]]  # of the same pieces, 0 where they are not replies
    turns: list[str] = field(default_factory=list)  # the engine's own names of the replies
    outcome: Outcome = "stop"
    prefix: str = ""
    open: bool = True

    @property
    def token_ids(self) -> NDArray[np.int32]:
        return np.concatenate(self.ids)


class EnvironmentEngine:
    """Plays tasks in environments with the replies of a torch engine. Implements :class:`custodes.types.Engine`.

    Args:
        engine: samples the replies.
        make: the environment of each episode, by its task.
        workers: threads in which environments answer.
        max_episode: tokens of a whole episode, prompt included; one that would grow beyond them fails. 0: the context.

    After :meth:`generate`, ``played`` holds the environment of every episode by its id, closed: rewards ask it what
    happened. It is replaced by the next call.
    """

    def __init__(self, engine: TorchEngine, make: MakeEnvironment, *, workers: int = 4, max_episode: int = 0) -> None:
        self.engine, self.make, self.workers = engine, make, workers
        self.max_episode = max_episode or engine.lm.decoder.spec.context
        self.played: dict[str, Playable] = {}

    @property
    def lm(self) -> LanguageModel:
        return self.engine.lm

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        """``len(tasks) * sampling.n`` whole episodes, those of one task side by side.

        Raises InputError where a task's own prompt and one reply do not fit ``max_episode``, and where ``prefixes`` are
        given: environments say how replies begin.
        """
        if prefixes is not None:
            raise InputError("episodes are played in environments, which say how replies begin; give no prefixes.")
        attempts = [self._start(task, sampling) for task in tasks for _ in range(sampling.n)]
        policy = self.engine.policy or self.lm.fingerprint()
        try:
            self._play(attempts, sampling, policy)
        finally:
            for attempt in attempts:
                if attempt.environment is not None:
                    attempt.environment.close()
        episodes = [_episode(attempt, policy) for attempt in attempts]
        self.played = {
            e.id: a.environment for e, a in zip(episodes, attempts, strict=True) if a.environment is not None
        }
        return episodes

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        return self.engine.logprobs(episodes, temperature)

    def _start(self, task: Task, sampling: Sampling) -> _Attempt:
        environment = self.make(task)
        messages = list(task.messages if environment is None else environment.start(task))
        prefix = "" if environment is None else environment.prefix
        with located(f"task {task.id}"):
            prompt = self.lm.encode(messages, prefix)
        if len(prompt) + sampling.max_tokens > self.max_episode:
            raise InputError(
                f"task {task.id}: its prompt of {len(prompt)} tokens and a reply of up to {sampling.max_tokens} exceed the "
                f"{self.max_episode} tokens of an episode; allow longer episodes or shorter replies."
            )
        return _Attempt(task, environment, messages, [prompt], [np.zeros(len(prompt), np.float32)], prefix=prefix)

    @contextmanager
    def _ended_early(self) -> Iterator[None]:
        """What is done where playing ends before its time, while environments may still be at work."""
        yield

    def _play(self, attempts: Sequence[_Attempt], sampling: Sampling, policy: str) -> None:
        """All episodes to their ends."""
        replies, passes = self.engine.stream(sampling), 0
        room, ready, seen = replies.room(), list(attempts), Counter[bytes]()
        drawing: dict[Request, _Attempt] = {}
        answering: deque[tuple[int, _Attempt, str, Future[tuple[Message, ...] | None]]] = deque()
        with ThreadPoolExecutor(self.workers) as pool, self._ended_early():
            while ready or drawing or answering:
                places, waiting = self.engine.max_batch - len(drawing) - len(answering), []
                for i, attempt in enumerate(ready):
                    if not places:
                        waiting += ready[i:]
                        break
                    if not room.admits(attempt, sum(map(len, attempt.ids)) + sampling.max_tokens):
                        waiting.append(attempt)
                        continue
                    prompt = attempt.token_ids
                    request = make_request(prompt, sampling.seed, seen[prompt.tobytes()])
                    seen[prompt.tobytes()] += 1  # asking again for the same conversation draws anew
                    replies.ask(request)
                    drawing[request] = attempt
                    places -= 1
                ready = waiting
                for request in replies.advance():
                    attempt = drawing.pop(request)
                    reply = self._take(attempt, request, sampling, policy)
                    answering.append((passes, attempt, reply, pool.submit(_step, attempt, reply)))
                while answering and (answering[0][0] < passes or not drawing):
                    _, attempt, reply, answer = answering.popleft()
                    self._go_on(attempt, reply, answer.result(), sampling)
                    if attempt.open:
                        ready.insert(0, attempt)
                    else:
                        room.leave(attempt)
                passes += 1

    def _take(self, attempt: _Attempt, request: Request, sampling: Sampling, policy: str) -> str:
        """Append a reply to its episode; what the environment hears of it."""
        start, episode = len(request.prompt), self.engine.episode(attempt.task, request, policy)
        attempt.ids.append(episode.token_ids[start:])
        attempt.logprobs.append(episode.logprobs[start:])
        attempt.turns.append(episode.id)
        attempt.outcome = episode.outcome
        reply = _said(self.lm, episode, start, sampling)
        return attempt.prefix + reply if attempt.prefix else self.lm.chat.said(reply)

    def _go_on(self, attempt: _Attempt, reply: str, answer: tuple[Message, ...] | None, sampling: Sampling) -> None:
        """Append an answer and the opening of the next reply, or end the episode."""
        before = tuple(attempt.messages)
        attempt.messages.append(Message("assistant", reply))
        attempt.open = answer is not None
        if answer is None or attempt.environment is None:
            return
        attempt.prefix = attempt.environment.prefix
        ids = answer_ids(self.lm, before, answer, int(attempt.ids[-1][-1]), attempt.prefix)
        if len(attempt.token_ids) + len(ids) + sampling.max_tokens > self.max_episode:
            attempt.environment.fail(f"the conversation grew beyond {self.max_episode} tokens")
            attempt.open = False
            return
        attempt.messages += answer
        attempt.ids.append(ids)
        attempt.logprobs.append(np.zeros(len(ids), np.float32))


def _said(lm: LanguageModel, episode: Episode, start: int, sampling: Sampling) -> str:
    """The text of the tokens from ``start`` on, with the stop text that ended it."""
    ids = episode.token_ids[start:].tolist()
    ended = ids[-1] in (*lm.end_ids, *sampling.stop_ids)
    text = lm.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    ends = [at + len(words) for words in sampling.stop if (at := text.find(words)) >= 0]
    return text[: min(ends)] if ends else text


def _step(attempt: _Attempt, reply: str) -> tuple[Message, ...] | None:
    """What the environment answers; an environment that breaks ends its own episode and no other."""
    if attempt.environment is None:
        return None
    try:
        return attempt.environment.step(reply)
    except (BrokenEnvironment, OverseerLost):
        raise
    except Exception as error:  # a sandbox that broke: its episode failed, the others go on
        attempt.environment.close()
        attempt.environment.fail(f"crashed: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return None


def _episode(attempt: _Attempt, policy: str) -> Episode:
    logprobs = np.concatenate(attempt.logprobs)
    mask = np.concatenate([np.full(len(ids), k % 2 == 1) for k, ids in enumerate(attempt.ids)])
    identity = blake2b("\n".join([attempt.task.id, *attempt.turns]).encode(), digest_size=12).hexdigest()
    prompt, sampled = int((~mask).sum()), int(mask.sum())
    return Episode(
        id=identity,
        task=attempt.task,
        messages=tuple(attempt.messages),
        token_ids=attempt.token_ids,
        action_mask=mask,
        logprobs=logprobs,
        outcome=attempt.outcome,
        policy=policy,
        cost={"prompt_tokens": prompt, "completion_tokens": sampled, "turns": len(attempt.turns)},
    )
