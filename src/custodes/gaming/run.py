"""Many episodes at once: the policy is asked for full batches while sandboxes run what it said before.

One thread asks the policy; some others hold the sandboxes. More episodes are under way than fit a batch, so that neither
waits for the other. Which variant an episode plays depends on its number alone: a run that was killed goes on with the
numbers that are missing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from custodes.feedback.oversight import EpisodeOversight, OverseerLost, Oversight
from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, OpenSandbox, gaming_task
from custodes.gaming.oversight import ActionMonitor, OverseenGaming
from custodes.gaming.policies import (
    Conversation,
    Drawn,
    EnginePolicy,
    Policy,
    ScriptedPolicy,
    Tools,
    attempt_seed,
)
from custodes.gaming.reach import reach
from custodes.gaming.variants import Split, Stage, variant_order
from custodes.types import InputError, Message, Sampling, Task

OnRecord = Callable[[dict[str, Any]], None]


def default_workers(asked: int) -> int:
    """How many threads hold sandboxes: ``asked``, or for 0 twice the processor's cores, at most 16."""
    return asked or min(16, 2 * (os.cpu_count() or 1))


def open_policy(
    spec: str,
    sampling: Sampling,
    *,
    tools: Tools = "text",
    batch: int = 64,
    cache_gb: float = 2.0,
    api_key: str | None = None,
) -> Policy:
    """``scripted:NAME``, ``endpoint:URL#MODEL``, or a model by name or folder.

    Keys and values of a model in this process may take ``cache_gb``. Raises InputError for anything else, and where
    nothing answers at the endpoint.
    """
    kind, _, rest = spec.partition(":")
    if kind == "scripted":
        return ScriptedPolicy(rest)
    if kind == "endpoint":
        from custodes.gaming.native import ToolEndpoint
        from custodes.lm.address import address
        from custodes.lm.endpoint import EndpointEngine

        engine = (ToolEndpoint if tools == "native" else EndpointEngine)(
            *address(spec, "policy"), api_key, concurrency=batch
        )
        reach(engine)
        return EnginePolicy(engine, spec, sampling, batch, text=tools == "text")
    if tools == "native":
        raise InputError(f"policy {spec!r}: native tool calling is for endpoints; leave --tools at text.")
    from custodes.gaming.model import ModelPolicy
    from custodes.lm.engine import TorchEngine
    from custodes.lm.loading import load

    return ModelPolicy(TorchEngine(load(spec), max_batch=batch, cache_gb=cache_gb), spec, sampling, batch)


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
    began: float
    cost: dict[str, float] = field(default_factory=dict)
    deadline: float = float("inf")
    abandoned: bool = False

    def give_up(self, why: str) -> None:
        """Record why it ended, and end its sandbox by the side: that may take as long as what went wrong."""

        def close() -> None:
            with contextlib.suppress(Exception):  # it is broken; that was recorded
                self.environment.close()

        self.environment.failure = why
        threading.Thread(target=close, daemon=True).start()


_Work = queue.SimpleQueue[tuple[_Live, Drawn] | None]
_Stepped = queue.SimpleQueue[tuple[_Live, Any, str | OverseerLost]]


def _jobs_of(stage: Stage, n: int, split: Split, seed: int, done: set[int]) -> Iterator[Job]:
    """The episodes 0 to n - 1 of a stage that are not done.

    Those of one variant come side by side, since what a model has computed of one it need not compute of the next.
    """
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
        oversight: Oversight | None = None,
        monitor: ActionMonitor | None = None,
    ) -> None:
        """``oversight`` decides on every action, or on those about which ``monitor`` raises an alarm."""
        self.oversight, self.monitor = oversight, monitor
        self.policy, self.stages, self.split, self.seed = policy, stages, split, seed
        self.options, self.loop, self.open_sandbox = options or EnvironmentOptions(), loop or Loop(), open_sandbox
        self.capacity = policy.under_way + 2 * self.loop.workers

    def run_missing(self, done: Mapping[str, set[int]], wanted: Mapping[str, int], on_record: OnRecord) -> None:
        """The episodes of every stage that are ``wanted`` and not ``done``, stage after stage; see :meth:`run`."""
        stages = self.stages.items()
        jobs = (_jobs_of(stage, wanted[name], self.split, self.seed, done[name]) for name, stage in stages)
        self.run(itertools.chain.from_iterable(jobs), on_record)

    def run(self, jobs: Iterator[Job], on_record: OnRecord) -> None:
        """Until the jobs are done. Whatever ``on_record`` or the policy raises ends the run, sandboxes first."""
        work: _Work = queue.SimpleQueue()
        stepped: _Stepped = queue.SimpleQueue()
        threads = [_worker(work, stepped, self.loop.patience) for _ in range(self.loop.workers)]
        flow = self.policy.flow()
        live: set[_Live] = set()
        stepping: set[_Live] = set()  # in or before a sandbox

        def over(episode: _Live) -> None:
            live.discard(episode)
            flow.leave(episode)
            on_record(self._record(episode))

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
                    for name, value in drawn.cost.items():
                        episode.cost[name] = episode.cost.get(name, 0.0) + value
                    work.put((episode, drawn))
                    stepping.add(episode)
                for episode, answer, crash in self._collect(stepped, block=bool(stepping) and not flow.busy):
                    if episode.abandoned:
                        continue
                    stepping.discard(episode)
                    if isinstance(crash, OverseerLost):
                        raise crash
                    if crash:  # what was done before it is not known: no facts
                        episode.environment.abandon(crash)
                        episode.give_up(crash)
                    if answer is None or crash:
                        over(episode)
                    else:
                        episode.messages += [episode.environment.transcript.messages[-len(answer) - 1], *answer]
                        flow.ask(episode, self._conversation(episode))
                now = time.monotonic()
                for episode in [e for e in stepping if e.deadline < now]:  # its step takes longer than any may
                    episode.abandoned = True
                    episode.give_up(f"hung: one step took longer than {self.loop.patience:g} s")
                    stepping.discard(episode)
                    threads.append(_worker(work, stepped, self.loop.patience))  # the stuck one may never come back
                    over(episode)
        finally:
            if self.oversight is not None:
                self.oversight.stop()  # threads may wait for people still
            for _ in threads:
                work.put(None)
            for episode in live:
                episode.environment.close()

    # ------------------------------------------------------------ the pieces

    def _start(self, job: Job) -> _Live:
        environment = self._environment(job)
        task = gaming_task(self.stages[job.stage], self.split, job.number, self.options)
        return _Live(job, environment, task, list(environment.start(task)), time.monotonic())

    def _environment(self, job: Job) -> GamingEnvironment:
        if self.oversight is None:
            return GamingEnvironment(self.stages, self.options, self.open_sandbox)
        overseen = EpisodeOversight(self.oversight, f"{job.stage}/{job.index}", self.policy.name)
        return OverseenGaming(self.stages, self.options, self.open_sandbox, overseen, self.monitor)

    def _conversation(self, episode: _Live) -> Conversation:
        environment, seed = episode.environment, attempt_seed(self.seed, episode.job.attempt)
        messages, start, attempt = tuple(episode.messages), environment.began_at, len(environment.attempts)
        return Conversation(environment.variant, messages, seed, environment.prefix, start, attempt)

    def _collect(self, stepped: _Stepped, block: bool) -> Iterator[tuple[_Live, Any, str | OverseerLost]]:
        """What the sandboxes have answered; waits a moment for the first of them where ``block``."""
        try:
            yield stepped.get(timeout=min(1.0, self.loop.patience)) if block else stepped.get_nowait()
            while True:
                yield stepped.get_nowait()
        except queue.Empty:
            return

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
            **verdict.to_dict(),
            "reward_problem": verdict.reward_problem,
            "failure": environment.failure,
            "well_formed": transcript.well_formed,
            "problems": list(dict.fromkeys(transcript.problems)),
            "answer": transcript.answer,
            "details": dict(verdict.details),
            "calls": len(transcript.steps),
            **({"attempts": environment.attempts} if environment.options.attempts > 1 else {}),
            **({"oversight": environment.overseen.to_list()} if isinstance(environment, OverseenGaming) else {}),
            "cost": {name: round(value, 6) for name, value in episode.cost.items()},
            "seconds": round(time.monotonic() - episode.began, 3),
            "transcript": transcript.to_list(),
        }


def _worker(work: _Work, stepped: _Stepped, patience: float) -> threading.Thread:
    """A thread that steps environments; a daemon, so that a stuck sandbox cannot keep the process alive."""

    def steps() -> None:
        while (item := work.get()) is not None:
            episode, drawn = item
            environment = episode.environment
            episode.deadline = time.monotonic() + patience  # from here: waiting for a free worker is nobody's fault
            answer: Any = None
            crash: str | OverseerLost = ""
            try:
                if drawn.failure:
                    environment.fail(drawn.failure)
                else:
                    answer = environment.step(drawn.text)
            except OverseerLost as lost:
                crash = lost
            except Exception as error:  # whatever it was, the episode is recorded and the others go on
                kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                crash = f"crashed: {kind}{' '.join(str(error).split())[:300]}"
            episode.deadline = float("inf")  # before it is handed on: its next step may begin at once
            stepped.put((episode, answer, crash))

    thread = threading.Thread(target=steps, daemon=True)
    thread.start()
    return thread
