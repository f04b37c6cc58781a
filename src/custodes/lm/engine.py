"""The torch sampling engine: continuous batching over the learner's own weights.

Requests wait in a queue; up to ``max_batch`` are alive at once. A prompt is computed once for all
its samples and its cache copied to each. When a sequence ends, the next request takes its slot, so
short replies never wait for long ones. Nothing is copied or reloaded between an update of the
weights and the next sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.decode import Cache, Prompt, Stepper
from custodes.lm.decoder import Decoder
from custodes.lm.finite import NotFiniteError, finite_model, is_finite
from custodes.lm.given import check_continues, continued
from custodes.lm.loading import LanguageModel
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack, split_by_budget
from custodes.lm.requests import OnProgress, Request, finish, make_request, sampled_episode, take
from custodes.lm.stream import Replies, Stream, Turns
from custodes.types import Episode, InputError, Sampling, Task, located

PREFILL_TOKENS = 2048
"""Prompt tokens computed in one forward pass: enough to keep the products efficient."""


class TorchEngine:
    """Draws replies from a language model in this process. Implements :class:`custodes.types.Engine`.

    Args:
        lm: the model; its adapter, if any, takes part.
        max_batch: sequences alive at once.
        cache_gb: memory for keys and values; fewer sequences are alive where they would not fit.
        policy: version name written into episodes; by default the fingerprint of the weights.
    """

    def __init__(self, lm: LanguageModel, *, max_batch: int = 256, cache_gb: float = 2.0, policy: str = "") -> None:
        self.lm, self.max_batch, self.cache_gb, self.policy = lm, max_batch, cache_gb, policy

    def generate(
        self,
        tasks: Sequence[Task],
        sampling: Sampling,
        prefixes: Sequence[str] | None = None,
        on_progress: OnProgress | None = None,
        prompts: Sequence[NDArray[np.int32]] | None = None,
    ) -> list[Episode]:
        """``len(tasks) * sampling.n`` episodes, those of one task side by side.

        ``prefixes[i]`` is a partial answer that every reply to task i must continue; its tokens are
        part of the episode but not actions. ``prompts[i]``, where given, are the token ids that the reply
        continues, in place of the task's messages: what a policy sampled before is not tokenised again.
        Raises :class:`InputError` where a prompt and its reply would not fit the model's context.
        """
        requests = self._requests(tasks, sampling, prefixes, prompts)
        with finite_model(self.lm.name, self.lm.decoder, self.lm.adapter):
            if requests and not isinstance(self.lm.decoder, Decoder):  # an architecture that transformers runs
                self.lm.decoder.generate_requests(self.lm.chat, requests, sampling, self.max_batch, on_progress)
            elif requests:
                _Batch(self, requests, sampling, on_progress).run()
        policy = self.policy or self.lm.fingerprint()
        return [self.episode(tasks[r.task], r, policy) for r in requests]

    def stream(self, sampling: Sampling) -> Replies:
        """Draws replies as they are asked for, for conversations that go on. Open another after an update."""
        if not isinstance(self.lm.decoder, Decoder):
            return Turns(self.lm, sampling, max_batch=self.max_batch)
        return Stream(self.lm, sampling, max_batch=self.max_batch, cache_gb=self.cache_gb)

    def episode(self, task: Task, request: Request, policy: str) -> Episode:
        """What a request whose reply has ended amounts to."""
        text, tokens = request.prefix + request.text, (request.prompt, request.tokens)
        draw = policy.encode() + request.key.to_bytes(8, "little")
        return sampled_episode(task, text, tokens, request.logprobs, request.outcome, policy, draw)

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        """Per episode (T,), nats: each action token's log-probability by the learner's forward pass, 0 elsewhere."""
        results = [np.zeros(len(e.token_ids), np.float32) for e in episodes]
        acting = [i for i, e in enumerate(episodes) if e.actions]
        lengths = [len(episodes[i].token_ids) for i in acting]
        for part in split_by_budget(lengths, PREFILL_TOKENS, [episodes[i].task.id for i in acting]):
            chosen = [acting[j] for j in part]
            batch = pack([episodes[i].token_ids for i in chosen], [episodes[i].task.id for i in chosen]).to(
                self.lm.decoder.device
            )
            places = [np.flatnonzero(episodes[i].action_mask) for i in chosen]
            rows = np.repeat(np.arange(len(chosen)), [len(p) for p in places])
            before = batch.rows[rows, np.concatenate(places) - 1]
            targets = torch.from_numpy(
                np.concatenate([episodes[i].token_ids[p] for i, p in zip(chosen, places, strict=True)]).astype(np.int64)
            )
            with torch.no_grad():
                hidden = self.lm.decoder.hidden(batch, self.lm.adapter, wanted=before)
                values, _ = token_logprobs(
                    hidden, self.lm.decoder.head_weight(), targets.to(hidden.device), temperature
                )
            if not is_finite(values):
                wrong = chosen[rows[int((~values.isfinite()).nonzero()[0])]]
                with finite_model(self.lm.name, self.lm.decoder, self.lm.adapter):
                    raise NotFiniteError(episodes[wrong].token_ids.tolist())
            for i, p, part_values in zip(chosen, places, values.cpu().split([len(p) for p in places]), strict=True):
                results[i][p] = part_values.numpy()
        return results

    def reply_logprobs(self, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
        """(B,) nats: log-probability that the reply to ``tasks[i]`` begins with ``replies[i]``, summed over its tokens.

        Equal prompts are computed once for all replies. Raises :class:`~custodes.lm.given.CannotTell` where the tokenizer
        merges the beginning of a reply with the end of the prompt, so that the two cannot be told apart.
        """
        prompts, episodes = dict[str, NDArray[np.int32]](), []
        for task, reply in zip(tasks, replies, strict=True):
            prompt = prompts.get(task.id)
            if prompt is None:
                prompt = prompts[task.id] = self.lm.encode(task.messages)
            whole = self.lm.encode(task.messages, reply)
            check_continues(self.lm.name, reply, prompt, whole)
            episodes.append(continued(task, prompt, whole))
        return np.array([float(nats.astype(np.float64).sum()) for nats in self.logprobs(episodes)])

    def _requests(
        self,
        tasks: Sequence[Task],
        sampling: Sampling,
        prefixes: Sequence[str] | None,
        given: Sequence[NDArray[np.int32]] | None,
    ) -> list[Request]:
        if prefixes is not None and len(prefixes) != len(tasks):
            raise InputError(
                f"{len(prefixes)} prefixes for {len(tasks)} tasks; give one for each, empty where there is none."
            )
        context, requests = self.lm.decoder.spec.context, list[Request]()
        prompts: dict[bytes, tuple[NDArray[np.int32], Iterator[int]]] = {}
        for i, task in enumerate(tasks):
            prefix = prefixes[i] if prefixes is not None else ""
            with located(f"task {task.id}"):
                prompt = self.lm.encode(task.messages, prefix) if given is None else given[i]
            if len(prompt) + sampling.max_tokens > context:
                raise InputError(
                    f"task {task.id}: its prompt of {len(prompt)} tokens and a reply of up to {sampling.max_tokens} "
                    f"exceed the context of {context} tokens of {self.lm.name}; shorten either."
                )
            # equal prompts are one object, computed once; asking again for the same prompt draws anew
            prompt, numbers = prompts.setdefault(prompt.tobytes(), (prompt, count()))
            requests += [make_request(prompt, sampling.seed, next(numbers), prefix, i) for _ in range(sampling.n)]
        return requests


class _Batch:
    """The requests alive in the cache's first slots, and those that wait."""

    def __init__(
        self, engine: TorchEngine, requests: list[Request], sampling: Sampling, on_progress: OnProgress | None
    ) -> None:
        self.lm, self.sampling, self.on_progress, self.total = engine.lm, sampling, on_progress, len(requests)
        self.waiting = deque(
            sorted(requests, key=lambda r: (len(r.prompt), r.prompt.tobytes()))
        )  # like lengths together; samples of a prompt stay together
        self.alive: list[Request] = []
        self.stepper = Stepper(self.lm.decoder, self.lm.adapter)
        longest = max(len(r.prompt) for r in requests)
        spec = self.lm.decoder.spec
        slot_bytes = (
            2
            * spec.layers
            * spec.kv_heads
            * spec.head_dim
            * (longest + sampling.max_tokens)
            * self.lm.decoder.dtype.itemsize
        )
        self.slots = max(1, min(engine.max_batch, len(requests), int(engine.cache_gb * 2**30 / slot_bytes)))
        self.cache = Cache(
            self.lm.decoder, self.slots, longest, sampling.max_tokens, shared=self.stepper.native is not None
        )
        self.ends = frozenset((*self.lm.end_ids, *sampling.stop_ids))
        self.finished = 0
        self._kept: tuple[NDArray[np.int32], Prompt] | None = None  # the last prompt: samples of it may still wait

    def run(self) -> None:
        while self.waiting or self.alive:
            if self.waiting and (len(self.alive) <= self.slots - self._wave()):
                self._admit()
            tokens = torch.tensor([r.tokens[-1] for r in self.alive], device=self.lm.decoder.device)
            positions = torch.tensor(
                [len(r.prompt) + len(r.tokens) - 1 for r in self.alive], device=self.lm.decoder.device
            )
            if self.alive:
                self._take(self.stepper.step(tokens, positions, self.cache), self.alive)
                self._retire()

    def _wave(self) -> int:
        """Free slots to wait for before admitting: prompts computed together cost far less than one by one."""
        return min(len(self.waiting), max(1, self.slots // 8)) if self.alive else 1

    @torch.inference_mode()
    def _admit(self) -> None:
        """Fill free slots; each prompt is computed once, whatever the number of its samples."""
        room = [self.waiting.popleft() for _ in range(min(self.slots - len(self.alive), len(self.waiting)))]
        first, logits = len(self.alive), []
        groups: list[list[Request]] = []
        for request in room:
            if groups and groups[-1][0].prompt is request.prompt:
                groups[-1].append(request)
            else:
                groups.append([request])
        for part in split_by_budget([len(g[0].prompt) for g in groups], PREFILL_TOKENS):
            chosen = [groups[i] for i in part]
            for group, prompt in zip(chosen, self._prompts([g[0].prompt for g in chosen]), strict=True):
                for request in group:
                    self.cache.admit(len(self.alive), prompt)
                    self.alive.append(request)
                    logits.append(prompt.logits)
        self._take(torch.stack(logits), self.alive[first:])
        self._retire()

    def _prompts(self, prompts: list[NDArray[np.int32]]) -> list[Prompt]:
        """Keys, values and next logits of each prompt, in one forward pass."""
        if self._kept is not None and len(prompts) == 1 and self._kept[0] is prompts[0]:
            return [self._kept[1]]
        results = self.stepper.prompts(prompts)
        self._kept = (prompts[-1], results[-1])
        return results

    def _take(self, logits: Tensor, requests: list[Request]) -> None:
        take(logits, requests, self.sampling, self.lm.chat, self.ends, self.stepper.native)

    @torch.inference_mode()
    def _retire(self) -> None:
        """Let finished requests go; the last one alive moves into a freed slot."""
        slot = 0
        while slot < len(self.alive):
            if not finish(self.alive[slot], self.lm.chat, self.sampling, self.ends):
                slot += 1
                continue
            self.finished += 1
            last = self.alive.pop()
            self.cache.release(slot, len(self.alive))
            if slot < len(self.alive):
                self.alive[slot] = last
        if self.on_progress is not None:
            self.on_progress(self.finished, self.total)
