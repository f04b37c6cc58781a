"""Replies drawn as they are asked for: no batch to wait for, and nothing computed twice.

A :class:`Stream` holds up to ``max_batch`` replies in the making. Replies can be asked for at any time; each comes back as
soon as it ends and makes room for the next. One pass computes the next token of every reply and, beside them, prompts of
those that are new: of each only what no other sequence has computed (:mod:`custodes.lm.pages`), so that a conversation of
many turns costs its new words. Weights must not change while a stream is used.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from custodes.lm.decode import TILE, Stepper, StepWeights
from custodes.lm.decoder import Decoder
from custodes.lm.finite import finite_model
from custodes.lm.pages import Pages, Places, attend_pages, page_bytes, page_names
from custodes.lm.requests import Request, finish, take
from custodes.lm.steps import Rotary
from custodes.types import InputError, Sampling

if TYPE_CHECKING:
    from custodes.lm.loading import LanguageModel

PASS_TOKENS = 1024
"""Tokens computed in one pass: enough to keep the products efficient."""


class Replies(Protocol):
    """What draws replies for conversations that go on."""

    @property
    def busy(self) -> bool:
        """Whether some reply that was asked for has not come back."""
        ...

    def ask(self, request: Request) -> None:
        """Raises InputError where the prompt and its reply do not fit the context."""
        ...

    def advance(self) -> list[Request]:
        """Compute for a while; the requests whose replies have ended, in a fixed order."""
        ...

    def room(self) -> Room:
        """Who decides which conversations go on at once."""
        ...


@dataclass(slots=True, eq=False)
class _Seat:
    """A reply in the making, and the pages of its sequence."""

    request: Request
    pages: list[int]
    names: list[bytes]  # of the pages that are full
    total: int  # pages that it may come to need
    fed: int  # tokens that are computed
    rest: list[int] = field(default_factory=list)  # tokens that are known and not computed

    @property
    def promised(self) -> int:
        return self.total - len(self.pages)


_Part = tuple[_Seat, int, list[int]]
"""What one pass computes of a sequence: its seat, where the tokens begin, the tokens."""


class Stream:
    """Draws replies from a language model in this process. Implements :class:`Replies`.

    Args:
        lm: the model; its adapter, if any, takes part.
        sampling: of all replies; its ``n`` and ``seed`` are not used, requests have their own random numbers.
        max_batch: replies in the making at once.
        cache_gb: memory for keys and values.
    """

    def __init__(self, lm: LanguageModel, sampling: Sampling, *, max_batch: int, cache_gb: float) -> None:
        assert isinstance(lm.decoder, Decoder)
        self.lm, self.sampling, self.max_batch, self.cache_gb = lm, sampling, max_batch, cache_gb
        self.stepper = Stepper(lm.decoder, lm.adapter)
        enough = 2 * max_batch * math.ceil(lm.decoder.spec.context / TILE)
        count = min(enough, int(cache_gb * 2**30 / page_bytes(lm.decoder)))
        self.pages = Pages(lm.decoder, count, tiles=self.stepper.native is not None)
        self.ends = frozenset((*lm.end_ids, *sampling.stop_ids))
        self.computed = 0  # tokens that went through the model
        self._waiting: deque[Request] = deque()
        self._seats: list[_Seat] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._seats)

    def ask(self, request: Request) -> None:
        length = _check_context(self.lm, request, self.sampling)
        if math.ceil(length / TILE) > self.pages.count:
            raise InputError(
                f"keys and values of {length} tokens do not fit {self.cache_gb:g} GB; allow more, or shorter replies."
            )
        self._waiting.append(request)

    def room(self) -> Room:
        return Room(self.pages.count)

    @torch.inference_mode()
    def advance(self) -> list[Request]:
        """One pass through the model."""
        with finite_model(self.lm.name, self.lm.decoder, self.lm.adapter):
            return self._advance()

    def _advance(self) -> list[Request]:
        budget = max(PASS_TOKENS, 2 * self.max_batch)
        parts: list[_Part] = []
        for seat in self._seats:
            budget -= self._schedule(seat, budget, parts)
        while self._waiting and budget > 0 and len(self._seats) < self.max_batch:
            seated = self._seat(self._waiting[0])
            if seated is None:
                break
            self._waiting.popleft()
            self._seats.append(seated)
            budget -= self._schedule(seated, budget, parts)
        if not parts:
            return []
        ready = [i for i, (seat, _, _) in enumerate(parts) if not seat.rest]
        logits = self._compute(parts, ready)
        drawing = [parts[i][0] for i in ready]
        if drawing:
            take(logits, [s.request for s in drawing], self.sampling, self.lm.chat, self.ends, self.stepper.native)
        for seat in drawing:
            seat.rest = seat.request.tokens[-1:]
        over = {id(s): s for s in drawing if finish(s.request, self.lm.chat, self.sampling, self.ends)}
        self._seats = [s for s in self._seats if id(s) not in over]
        for seat in over.values():
            self.pages.release(seat.pages)
        return [seat.request for seat in over.values()]

    # ------------------------------------------------------------ the pieces

    def _seat(self, request: Request) -> _Seat | None:
        """A seat for a request, with the pages that are there already; None while there is no room for the others."""
        names = list(page_names(request.prompt[:-1]))  # the last token is computed in any case: its logits are wanted
        found = self.pages.find(names)
        total = math.ceil((len(request.prompt) + self.sampling.max_tokens) / TILE)
        self.pages.share(found)
        if self.pages.free - sum(s.promised for s in self._seats) < total - len(found):
            self.pages.release(found)
            return None
        fed = len(found) * TILE
        return _Seat(request, found, names[: len(found)], total, fed, request.prompt[fed:].tolist())

    def _schedule(self, seat: _Seat, budget: int, parts: list[_Part]) -> int:
        """Put what the seat has to compute into the next pass, as much as the budget allows; how much that was."""
        tokens = seat.rest[: max(budget, 0)]
        if not tokens:
            return 0
        parts.append((seat, seat.fed, tokens))
        seat.rest, seat.fed = seat.rest[len(tokens) :], seat.fed + len(tokens)
        while len(seat.pages) * TILE < seat.fed:
            seat.pages.append(self.pages.take())
        full = seat.fed // TILE
        if full > len(seat.names):  # found from now on: keys and values are written before anything attends
            done = len(seat.names)
            ids = np.concatenate([seat.request.prompt, np.asarray(seat.request.tokens, np.int32)])
            for page, name in zip(
                seat.pages[done:full],
                page_names(ids[done * TILE : full * TILE], seat.names[-1] if done else b""),
                strict=True,
            ):
                self.pages.name(page, name)
                seat.names.append(name)
        return len(tokens)

    def _compute(self, parts: list[_Part], ready: list[int]) -> Tensor:
        """Logits (ready, V) after the last tokens of the parts that are complete."""
        device = self.lm.decoder.device
        counts = [len(tokens) for _, _, tokens in parts]
        ends = np.cumsum(counts)
        positions = np.concatenate([np.arange(start, start + len(tokens)) for _, start, tokens in parts])
        longest = max(len(seat.pages) for seat, _, _ in parts)
        tables = np.zeros((len(parts), longest), np.int64)
        for line, (seat, _, _) in zip(tables, parts, strict=True):
            line[: len(seat.pages)] = seat.pages
        places = Places(
            tables=torch.from_numpy(tables).to(device),
            rows=torch.from_numpy(np.repeat(np.arange(len(parts)), counts)).to(device),
            positions=torch.from_numpy(positions).to(device),
            runs=[(int(end) - count, int(end)) for count, end in zip(counts, ends, strict=True)],
        )

        def attend(index: int, weights: StepWeights, qkv: Tensor, rotary: Rotary) -> Tensor:
            return attend_pages(self.stepper, self.pages, places, index, weights, qkv, rotary)

        ids = torch.tensor([token for _, _, tokens in parts for token in tokens], device=device)
        hidden = self.stepper.hidden(ids, places.positions, attend)
        self.computed += len(ids)
        return self.stepper.logits(hidden[torch.from_numpy(ends[ready] - 1).to(device)])


class Room:
    """Which conversations may go on at once, so that what has been computed of them is not pushed out between two turns.

    Conversations that grow all at once, each a little at every turn, can come to need more pages than there are. Taken in
    turns, each would push out the one that comes next, and everything would be computed again at every turn. So those that
    began first go on, and the youngest wait: what is pushed out of them is computed again once.

    ``pages`` is how many there are; a conversation is any hashable key.
    """

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self._taken: dict[Hashable, int] = {}  # the longest under way first

    def admits(self, conversation: Hashable, tokens: int) -> bool:
        """Whether a conversation may go on to so many tokens, its next reply included. One is always admitted."""
        need = math.ceil(tokens / TILE)
        others = sum(self._taken.values()) - self._taken.get(conversation, 0)
        youngest = next(reversed(self._taken), None)
        if others and others + need > self.pages and (conversation not in self._taken or conversation == youngest):
            self._taken.pop(conversation, None)
            return False
        self._taken[conversation] = need
        return True

    def leave(self, conversation: Hashable) -> None:
        """The conversation is over."""
        self._taken.pop(conversation, None)


class Turns:
    """The same for an architecture that transformers runs: all replies that were asked for, in one batch, each time."""

    def __init__(self, lm: LanguageModel, sampling: Sampling, *, max_batch: int) -> None:
        self.lm, self.sampling, self.max_batch = lm, sampling, max_batch
        self._waiting: list[Request] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def ask(self, request: Request) -> None:
        _check_context(self.lm, request, self.sampling)
        self._waiting.append(request)

    def room(self) -> Room:
        return Room(sys.maxsize)  # nothing is kept between turns

    def advance(self) -> list[Request]:
        asked, self._waiting = self._waiting, []
        assert not isinstance(self.lm.decoder, Decoder)
        if asked:
            with finite_model(self.lm.name, self.lm.decoder):
                self.lm.decoder.generate_requests(self.lm.chat, asked, self.sampling, self.max_batch)
        return asked


def _check_context(lm: LanguageModel, request: Request, sampling: Sampling) -> int:
    """Tokens that the conversation may come to."""
    context, length = lm.decoder.spec.context, len(request.prompt) + sampling.max_tokens
    if length > context:
        raise InputError(
            f"a conversation of {len(request.prompt)} tokens and a reply of up to {sampling.max_tokens} "
            f"exceed the context of {context} tokens of {lm.name}; shorten either."
        )
    return length
