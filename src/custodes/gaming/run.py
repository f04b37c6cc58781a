"""Many episodes at once: the policy is asked for full batches while sandboxes run what it said before.

One thread asks the policy; some others hold the sandboxes. More episodes are under way than fit a batch, so that
neither waits for the other. Which variant an episode plays depends on its number alone: a run that was killed
goes on with the numbers that are missing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, OpenSandbox, gaming_task
from custodes.gaming.facts import make_verdict
from custodes.gaming.policies import Conversation, Drawn, Flowing, Policy, attempt_seed, flow_of
from custodes.gaming.variants import Split, Stage, variant_order
from custodes.types import InputError, Message, Task

OnRecord = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """How episodes are run; none of it changes what an episode is."""

    workers: int = 4
    """Threads that run sandboxes."""
    patience: float = 300.0
    """Seconds for one step of an environment; then the episode is recorded as failed and its sandbox is ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """Episode ``index`` of a stage."""

    stage: str
    index: int
    attempt: int  # how often its variant has come before
    number: int  # of the variant


@dataclass(slots=True, eq=False)
class _Live:
    """An episode under way."""

    job: Job
    environment: GamingEnvironment
    task: Task
    messages: list[Message]
    split: Split
    began: float
    cost: dict[str, float] = field(default_factory=dict)
    deadline: float = float("inf")
    abandoned: bool = False


def jobs_of(stage: Stage, n: int, split: Split, seed: int, done: set[int]) -> Iterator[Job]:
    """The episodes 0 to n - 1 of a stage that are not done; those of one variant side by side, since what a model has
    computed of one it need not compute of the next."""
    order = variant_order(stage.size(split), seed)
    for first, number in enumerate(order[:n]):
        for index in range(first, n, len(order)):
            if index not in done:
                yield Job(stage.name, index, index // len(order), number)


class Runner:
    """Runs jobs and hands each finished episode to ``on_record``, in the order in which they end."""

    def __init__(
        self,
        policy: Policy,
        stages: Mapping[str, Stage],
        *,
        split: Split = "held-out",
        seed: int = 0,
        options: EnvironmentOptions | None = None,
        loop: Loop | None = None,
        open_sandbox: OpenSandbox | None = None,
    ) -> None:
        self.policy, self.stages, self.split, self.seed = policy, stages, split, seed
        self.options, self.loop, self.open_sandbox = options or EnvironmentOptions(), loop or Loop(), open_sandbox
        # one that hands out its replies singly needs a few more than its batch, one that answers batches a second batch
        self.capacity = policy.batch * (1 if isinstance(policy, Flowing) else 2) + 2 * self.loop.workers

    def run(self, jobs: Iterator[Job], on_record: OnRecord) -> None:
        """Until the jobs are done. Whatever ``on_record`` or the policy raises ends the run, sandboxes first."""
        work: queue.SimpleQueue[tuple[_Live, Drawn] | None] = queue.SimpleQueue()
        stepped: queue.SimpleQueue[tuple[_Live, Any, str]] = queue.SimpleQueue()
        threads = [_worker(work, stepped, self.loop.patience) for _ in range(self.loop.workers)]
        flow = flow_of(self.policy)
        live: set[_Live] = set()
        stepping: set[_Live] = set()  # in or before a sandbox
        more = True
        try:
            while more or live:
                while more and len(live) < self.capacity:
                    job = next(jobs, None)
                    more = job is not None
                    if job is not None:
                        started = self._start(job)
                        live.add(started)
                        flow.ask(started, self._conversation(started))
                for episode, drawn in flow.draw(idle=not stepping):
                    _add_cost(episode, drawn)
                    work.put((episode, drawn))
                    stepping.add(episode)
                for episode, answer, failure in self._collect(stepped, block=bool(stepping) and not flow.busy):
                    if episode.abandoned:
                        continue
                    stepping.discard(episode)
                    if failure:
                        _fail(episode, failure)
                    if answer is None or failure:
                        live.discard(episode)
                        flow.leave(episode)
                        on_record(self._record(episode))
                    else:
                        episode.messages += [episode.environment.transcript.messages[-len(answer) - 1], *answer]
                        flow.ask(episode, self._conversation(episode))
                for episode in self._overdue(stepping):
                    stepping.discard(episode)
                    live.discard(episode)
                    flow.leave(episode)
                    threads.append(_worker(work, stepped, self.loop.patience))  # the stuck one may never come back
                    on_record(self._record(episode))
        finally:
            for _ in threads:
                work.put(None)
            for episode in live:
                episode.environment.close()

    # ------------------------------------------------------------ the pieces

    def _start(self, job: Job) -> _Live:
        environment = GamingEnvironment(self.stages, self.options, self.open_sandbox)
        task = gaming_task(self.stages[job.stage], self.split, job.number, self.options)
        return _Live(job, environment, task, list(environment.start(task)), self.split, time.monotonic())

    def _conversation(self, episode: _Live) -> Conversation:
        environment = episode.environment
        return Conversation(
            environment.variant,
            tuple(episode.messages),
            attempt_seed(self.seed, episode.job.attempt),
            environment.prefix,
            environment.began_at,
            len(environment.attempts),
        )

    def _collect(
        self, stepped: queue.SimpleQueue[tuple[_Live, Any, str]], block: bool
    ) -> Iterator[tuple[_Live, Any, str]]:
        """What the sandboxes have answered; waits a moment for the first of them where ``block``."""
        try:
            yield stepped.get(timeout=min(1.0, self.loop.patience)) if block else stepped.get_nowait()
            while True:
                yield stepped.get_nowait()
        except queue.Empty:
            return

    def _overdue(self, stepping: set[_Live]) -> list[_Live]:
        """Episodes whose step takes longer than anything may: their sandboxes are ended."""
        now = time.monotonic()
        late = [e for e in stepping if e.deadline < now]
        for episode in late:
            episode.abandoned = True
            episode.environment.failure = f"hung: one step took longer than {self.loop.patience:g} s"
            threading.Thread(target=_quietly, args=(episode.environment.close,), daemon=True).start()
        return late

    def _record(self, episode: _Live) -> dict[str, Any]:
        """The episode as one JSON object."""
        environment, job = episode.environment, episode.job
        verdict, transcript = environment.verdict, environment.transcript
        return {
            "task": episode.task.id,
            "stage": job.stage,
            "index": job.index,
            "variant": environment.variant.id,
            "attempt": job.attempt,
            "policy": self.policy.name,
            "category": verdict.category,
            "facts": list(verdict.facts),
            "gamed": verdict.gamed,
            "reward": verdict.reward,
            "caught": verdict.caught,
            "reward_problem": verdict.reward_problem,
            "failure": environment.failure,
            "well_formed": transcript.well_formed,
            "problems": list(dict.fromkeys(transcript.problems)),
            "answer": transcript.answer,
            "details": dict(verdict.details),
            "calls": len(transcript.steps),
            "changes": [change.to_dict() for change in verdict.changes],
            **({"attempts": [a.to_dict() for a in environment.attempts]} if environment.options.attempts > 1 else {}),
            "cost": {name: round(value, 6) for name, value in episode.cost.items()},
            "seconds": round(time.monotonic() - episode.began, 3),
            "transcript": transcript.to_list(),
        }


def _worker(
    work: queue.SimpleQueue[tuple[_Live, Drawn] | None],
    stepped: queue.SimpleQueue[tuple[_Live, Any, str]],
    patience: float,
) -> threading.Thread:
    """A thread that steps environments; a daemon, so that a stuck sandbox cannot keep the process alive."""

    def steps() -> None:
        while (item := work.get()) is not None:
            episode, drawn = item
            environment = episode.environment
            episode.deadline = time.monotonic() + patience  # from here: waiting for a free worker is nobody's fault
            answer, crash = None, ""
            try:
                if drawn.failure:
                    environment.fail(drawn.failure)
                else:
                    answer = environment.step(drawn.text)
            except Exception as error:  # whatever it was, the episode is recorded and the others go on
                kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                crash = f"crashed: {kind}{' '.join(str(error).split())[:300]}"
            episode.deadline = float("inf")  # before it is handed on: its next step may begin at once
            stepped.put((episode, answer, crash))

    thread = threading.Thread(target=steps, daemon=True)
    thread.start()
    return thread


def _fail(episode: _Live, why: str) -> None:
    """Record a crash. What was done before it is not known: no facts."""
    episode.environment.failure = why
    episode.environment.verdict = make_verdict(set(), gamed=False, reward=None)
    threading.Thread(target=_quietly, args=(episode.environment.close,), daemon=True).start()


def _add_cost(episode: _Live, drawn: Drawn) -> None:
    for name, value in drawn.cost.items():
        episode.cost[name] = episode.cost.get(name, 0.0) + value


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:  # it is broken; that was recorded
        return
