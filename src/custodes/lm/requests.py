"""Replies in the making: what the sampling loops of every architecture share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.chat import Chat
from custodes.lm.finite import NotFiniteError
from custodes.lm.kernels import Native
from custodes.lm.sampler import draw_tokens, stream, uniforms
from custodes.types import Episode, Message, Outcome, Sampling, Task

OnProgress = Callable[[int, int], None]
"""Called with (replies finished, replies asked for)."""


@dataclass(eq=False)
class Request:
    """One reply to draw."""

    task: int
    prompt: NDArray[np.int32]  # prefix included
    prefix: str
    key: int  # stream of random numbers
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    outcome: Outcome = "length"

    @property
    def opened(self) -> bool:
        """Whether the reply's beginning stands in the prompt."""
        return bool(self.prefix)


def make_request(prompt: NDArray[np.int32], seed: int, number: int = 0, prefix: str = "", task: int = 0) -> Request:
    """The ``number``-th reply to a prompt. Its random numbers are those that :class:`custodes.lm.engine.TorchEngine` gives it."""
    digest = blake2b(prompt.tobytes(), digest_size=16).digest()
    return Request(task, prompt, prefix, stream(seed, digest, number))


def sampled_episode(
    task: Task,
    text: str,
    tokens: tuple[Sequence[int] | NDArray[np.int32], Sequence[int] | NDArray[np.int32]],
    logprobs: Sequence[float] | NDArray[np.float32],
    outcome: Outcome,
    policy: str,
    draw: bytes,
    actions: NDArray[np.bool_] | None = None,
) -> Episode:
    """A reply to a task as an episode.

    ``tokens`` are those of the prompt and of the reply, ``logprobs`` and ``actions`` are of the reply; without ``actions`` all of
    it was chosen. ``draw`` tells its id from those of the same tokens that were drawn otherwise.
    """
    prompt, reply = (np.asarray(own, np.int32) for own in tokens)
    token_ids, before = np.concatenate([prompt, reply]), len(prompt)
    chosen = np.ones(len(reply), np.bool_) if actions is None else actions
    return Episode(
        id=blake2b(token_ids.tobytes() + draw, digest_size=12).hexdigest(),
        task=task,
        messages=(*task.messages, Message("assistant", text)),
        token_ids=token_ids,
        action_mask=np.concatenate([np.zeros(before, np.bool_), chosen]),
        logprobs=np.concatenate([np.zeros(before, np.float32), np.asarray(logprobs, np.float32)]),
        outcome=outcome,
        policy=policy,
        cost={"prompt_tokens": before, "completion_tokens": int(chosen.sum())},
    )


@torch.inference_mode()
def take(
    logits: Tensor,
    requests: list[Request],
    sampling: Sampling,
    chat: Chat,
    ends: frozenset[int],
    native: Native | None = None,
) -> None:
    """Draw the next token of each request from its row of logits (B, V). Raises NotFiniteError where these are no numbers."""
    if chat.never:
        logits[:, list(chat.never)] = -torch.inf
    steps = np.asarray([len(r.tokens) for r in requests])
    early = np.flatnonzero(steps < sampling.min_tokens)
    if len(early):
        logits[torch.from_numpy(early).to(logits.device)[:, None], sorted(ends)] = -torch.inf
    uniform = uniforms(np.asarray([r.key for r in requests], np.uint64), steps)
    tokens, logprobs = draw_tokens(logits, uniform, sampling.temperature, sampling.top_k, sampling.top_p, native)
    drawn = logprobs.tolist()
    if not math.isfinite(sum(drawn)):
        wrong = next(request for request, value in zip(requests, drawn, strict=True) if not math.isfinite(value))
        raise NotFiniteError([*wrong.prompt.tolist(), *wrong.tokens])
    for request, token, logprob in zip(requests, tokens.tolist(), drawn, strict=True):
        request.tokens.append(token)
        request.logprobs.append(logprob)


def finish(request: Request, chat: Chat, sampling: Sampling, ends: frozenset[int]) -> bool:
    """Whether the request's reply is over; sets its text and outcome when it is."""
    ended = request.tokens[-1] in ends
    if not ended and not sampling.stop and len(request.tokens) < sampling.max_tokens:
        return False
    body = request.tokens[:-1] if ended else request.tokens
    decode = chat.tokenizer.decode
    if not ended and len(request.tokens) < sampling.max_tokens:
        reach = (
            max(len(stop.encode()) for stop in sampling.stop) + 4
        )  # in tokens: the newest ends no text that began before
        if not any(stop in decode(body[-reach:], skip_special_tokens=True) for stop in sampling.stop):
            return False
    text = decode(body, skip_special_tokens=True)
    early = len(decode(body[: sampling.min_tokens], skip_special_tokens=True))
    found = [at for stop in sampling.stop if (at := text.find(stop, early)) >= 0]
    if ended or found:
        request.outcome = "stop"
    elif len(request.tokens) < sampling.max_tokens:
        return False
    text = text[: min(found)] if found else text
    request.text = text if request.opened else chat.said(text)
    return True
