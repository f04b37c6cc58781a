"""Replies that branch: what they share is computed once and stays in memory.

A search over partial replies draws a few continuations, keeps the best, cuts their ends off, forces some words and
draws again. Here the prompt is computed once for the whole search, and what is kept of a reply is copied with its keys
and values, not computed again. The replies are those that :class:`~custodes.lm.engine.TorchEngine` would draw from the same
tokens with the same seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.decode import Cache, Stepper
from custodes.lm.decoder import Decoder
from custodes.lm.finite import finite_model
from custodes.lm.loading import LanguageModel
from custodes.lm.requests import Request, finish, make_request, sampled_episode, take
from custodes.types import Episode, InputError, Outcome, Sampling, Task


@dataclass(frozen=True, eq=False)
class Branch:
    """A partial or whole reply. Arrays are (T,), one entry for each token after the prompt, forced ones included."""

    tokens: NDArray[np.int32]
    actions: NDArray[np.bool_]
    """Which tokens were drawn and not forced."""
    logprobs: NDArray[np.float32]
    """Nats, at the sampling temperature; 0 where forced."""
    text: str
    outcome: Outcome = "length"
    row: int = -1  # of the cache, while that holds it
    cached: int = 0  # tokens whose keys and values are there
    round: int = 0  # in which it was drawn


@dataclass(eq=False)
class _Growing:
    """One reply being drawn: what the cache holds of it, what is forced next, and the request that draws the rest."""

    kept: Branch
    keep: int  # tokens taken over from ``kept``
    row: int  # of ``kept`` in the cache
    forced: list[int]
    request: Request
    fed: int  # tokens of the reply whose keys and values the cache holds
    done: bool = False

    def token(self, at: int) -> int:
        """Token ``at`` of the reply."""
        if at < self.keep:
            return int(self.kept.tokens[at])
        at -= self.keep
        return self.forced[at] if at < len(self.forced) else self.request.tokens[at - len(self.forced)]

    @property
    def before(self) -> int:
        """Tokens before the first that is drawn."""
        return self.keep + len(self.forced)


class Branches:
    """Replies to one task, grown round by round.

    Args:
        lm: the model; its adapter, if any, takes part. Make new branches after an update of its weights.
        task: what is answered.
        width: replies grown at once.
        max_tokens: longest reply, forced tokens included.
        policy: version name written into episodes; by default the fingerprint of the weights.

    Raises :class:`InputError` where the prompt and the longest reply would not fit the model's context.
    """

    def __init__(
        self, lm: LanguageModel, task: Task, *, width: int = 8, max_tokens: int = 512, policy: str = ""
    ) -> None:
        self.lm, self.task, self.width, self.max_tokens, self.policy = lm, task, width, max_tokens, policy
        self.prompt = lm.encode(task.messages)
        if len(self.prompt) + max_tokens > lm.decoder.spec.context:
            raise InputError(
                f"task {task.id}: its prompt of {len(self.prompt)} tokens and a reply of up to {max_tokens} "
                f"exceed the context of {lm.decoder.spec.context} tokens of {lm.name}; shorten either."
            )
        none = np.zeros(0)
        self.root = Branch(none.astype(np.int32), none.astype(np.bool_), none.astype(np.float32), "")
        self.round = 0
        if isinstance(lm.decoder, Decoder):
            self._open(lm.decoder)

    def grow(self, starts: Sequence[tuple[Branch, str]], sampling: Sampling) -> list[Branch]:
        """``sampling.n`` replies from each start, side by side: they begin with its text and go on freely.

        A start is a branch and a text; what the branch's text and that text have in common at their beginnings is
        kept, the rest of the text is forced. ``sampling.max_tokens`` counts drawn tokens. Only branches of the last
        round are still in memory; what is kept of others is computed again, with the same result.
        """
        self.round += 1
        growing = self._requests(starts, sampling)
        with finite_model(self.lm.name, self.lm.decoder, self.lm.adapter):
            if isinstance(self.lm.decoder, Decoder):
                self._run(growing, sampling)
            else:  # an architecture that transformers runs
                requests = [g.request for g in growing]
                self.lm.decoder.generate_requests(self.lm.chat, requests, sampling, self.width)
        return [self._branch(row, g) for row, g in enumerate(growing)]

    def episode(self, branch: Branch) -> Episode:
        """The branch as an episode: forced tokens are part of it and no actions."""
        policy = self.policy or self.lm.fingerprint()
        tokens, draw = (self.prompt, branch.tokens), branch.actions.tobytes() + policy.encode()
        return sampled_episode(
            self.task, branch.text, tokens, branch.logprobs, branch.outcome, policy, draw, branch.actions
        )

    # ------------------------------------------------------------ what is asked

    def _requests(self, starts: Sequence[tuple[Branch, str]], sampling: Sampling) -> list[_Growing]:
        if len(starts) * sampling.n > self.width:
            raise InputError(f"{len(starts)} x {sampling.n} branches; this search has room for {self.width} at once.")
        growing, seen = [], Counter[bytes]()
        for branch, text in starts:
            keep, forced = self._common(branch, text)
            if keep + len(forced) + sampling.max_tokens > self.max_tokens:
                raise InputError(
                    f"task {self.task.id}: {keep + len(forced)} tokens and {sampling.max_tokens} more exceed the longest "
                    f"reply of {self.max_tokens} tokens that this search has room for."
                )
            prompt = np.concatenate([self.prompt, branch.tokens[:keep], np.asarray(forced, np.int32)])
            held = branch.cached if branch.round == self.round - 1 and branch.row >= 0 else 0
            fed = min(keep, held, max(keep + len(forced) - 1, 0))  # the last one is fed again: its logits are wanted
            for _ in range(sampling.n):
                request = make_request(prompt, sampling.seed, seen[prompt.tobytes()], text)
                seen[prompt.tobytes()] += 1
                growing.append(_Growing(branch, keep, max(branch.row, 0), forced, request, fed))
        return growing

    def _common(self, branch: Branch, text: str) -> tuple[int, list[int]]:
        """How many tokens of ``branch`` begin ``text``, and the tokens of what follows."""

        def said(count: int) -> str:
            """What the branch's first tokens say."""
            return self.lm.chat.said(self.lm.tokenizer.decode(branch.tokens[:count], skip_special_tokens=True))

        keep = len(branch.tokens)
        while keep and not text.startswith(said(keep)):
            keep -= 1
        while keep and branch.tokens[keep - 1] in self.lm.end_ids:  # an end of turn says nothing, and ends it
            keep -= 1
        rest = text[len(said(keep)) :]
        return keep, self.lm.chat.text(rest, opens=keep == 0) if rest else []

    def _branch(self, row: int, g: _Growing) -> Branch:
        drawn = np.asarray(g.request.tokens, np.int32)
        tokens = np.concatenate([g.request.prompt[len(self.prompt) :], drawn])
        actions, logprobs = np.zeros(len(tokens), np.bool_), np.zeros(len(tokens), np.float32)
        actions[: g.keep], logprobs[: g.keep] = g.kept.actions[: g.keep], g.kept.logprobs[: g.keep]
        actions[g.before :], logprobs[g.before :] = True, g.request.logprobs
        text = g.request.prefix + g.request.text
        return Branch(tokens, actions, logprobs, text, g.request.outcome, row, g.fed, self.round)

    # ------------------------------------------------------------ what is computed

    @torch.inference_mode()
    def _open(self, decoder: Decoder) -> None:
        """Compute the prompt and make room for the replies."""
        self.stepper = Stepper(decoder, self.lm.adapter)
        self.cache = Cache(
            decoder, self.width, len(self.prompt), self.max_tokens, shared=self.stepper.native is not None
        )
        (prompt,) = self.stepper.prompts([self.prompt])
        self.logits = prompt.logits[None]
        for slot in range(self.width):
            self.cache.admit(slot, prompt)

    @torch.inference_mode()
    def _run(self, growing: list[_Growing], sampling: Sampling) -> None:
        """Feed what is forced and draw what is not, all replies in step."""
        rows = torch.tensor([g.row for g in growing])
        self.cache.keys[:, : len(rows)] = self.cache.keys[:, rows]
        self.cache.values[:, : len(rows)] = self.cache.values[:, rows]
        ends = frozenset((*self.lm.end_ids, *sampling.stop_ids))
        fresh = [g for g in growing if g.before == 0]
        if fresh:
            self._draw(self.logits.expand(len(fresh), -1).clone(), fresh, sampling, ends)
        device = self.lm.decoder.device
        while not all(g.done for g in growing):
            at = [max(g.fed - g.done, 0) for g in growing]  # whoever is done writes a token again, where it stands
            tokens = torch.tensor([g.token(i) for g, i in zip(growing, at, strict=True)], device=device)
            positions = torch.tensor([len(self.prompt) + i for i in at], device=device)
            logits = self.stepper.step(tokens, positions, self.cache)
            for g in growing:
                g.fed += not g.done
            ready = [i for i, g in enumerate(growing) if not g.done and g.fed >= g.before]
            if ready:
                self._draw(logits[torch.tensor(ready, device=device)], [growing[i] for i in ready], sampling, ends)

    def _draw(self, logits: Tensor, growing: list[_Growing], sampling: Sampling, ends: frozenset[int]) -> None:
        take(logits, [g.request for g in growing], sampling, self.lm.chat, ends, self.stepper.native)
        for g in growing:
            g.done = finish(g.request, self.lm.chat, sampling, ends)
