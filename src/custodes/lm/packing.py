"""Sequences without padding: what several sequences share is computed once.

A batch is N *unique* tokens in one row. A group of sequences with a common beginning (samples of one
prompt, the two sides of a comparison) keeps that beginning once. Everything that works token by
token (projections, norms, feed-forward: over 90 % of the arithmetic) sees the N tokens, and so does compiled
attention; other attention sees padded rows, gathered from them by index.

Letters: N unique tokens, R sequences, T tokens of the longest, M predicted tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_TOKENS = 1024
"""Row tokens from which a block is full: enough for efficient products, few enough to stay in cache."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionBlock:
    """Some neighbouring groups of a batch, as attention sees them: rows padded to the longest of these only."""

    start: int  # first of the block's unique tokens in the batch
    end: int
    rows: Tensor  # (R', T') int64, from 0 at ``start``; padding as in the batch
    back: Tensor  # (N',) int64 into R'*T'
    shared: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """R sequences over N unique tokens."""

    ids: Tensor  # (N,) int64
    positions: Tensor  # (N,) int64, place of each token in its sequence
    rows: Tensor  # (R, T) int64 into N; right padding points at token 0 and is hidden by causality
    back: Tensor  # (N,) int64 into R*T: the first row that holds each token
    shared: tuple[tuple[int, int, int, int], ...]  # (start, length, first row, end row) of each shared prefix
    last: Tensor  # (R,) int64 into N: the last token of each sequence
    starts: Tensor  # (S + 1,) int64 into N: first token of each segment, which is a group's prefix or what is one sequence's own
    groups: Tensor  # (K + 1,) int64 into S: first segment of each group, its prefix (empty where nothing is shared)
    blocks: tuple[AttentionBlock, ...]  # the same rows, cut where attention would pad or compute too much at once

    def to(self, device: torch.device | str) -> PackedBatch:
        names = ("ids", "positions", "rows", "back", "last", "starts", "groups")
        moved = {name: getattr(self, name).to(device) for name in names}
        blocks = tuple(replace(b, rows=b.rows.to(device), back=b.back.to(device)) for b in self.blocks)
        return replace(self, **moved, blocks=blocks)

    @property
    def tokens(self) -> int:
        return len(self.ids)


def pack(sequences: Sequence[NDArray[np.integer]], groups: Sequence[object] | None = None) -> PackedBatch:
    """Pack sequences; neighbours with equal ``groups`` entries share their longest common prefix.

    Raises ``ValueError`` on an empty list or an empty sequence.
    """
    if not sequences or any(len(s) == 0 for s in sequences):
        raise ValueError("pack needs at least one sequence and at least one token in each.")
    R, T = len(sequences), max(len(s) for s in sequences)
    rows = np.zeros((R, T), np.int64)
    ids: list[NDArray[np.integer]] = []
    positions: list[NDArray[np.int64]] = []
    back: list[NDArray[np.int64]] = []
    shared: list[tuple[int, int, int, int]] = []
    begins: list[tuple[int, int]] = []  # (first token, first row) of each group
    starts: list[int] = []
    groups_at: list[int] = []
    n = 0

    def add(tokens: NDArray[np.integer], start: int, row: int) -> NDArray[np.int64]:
        nonlocal n
        starts.append(n)
        place = np.arange(start, start + len(tokens))
        ids.append(tokens)
        positions.append(place)
        back.append(row * T + place)
        n += len(tokens)
        return np.arange(n - len(tokens), n)

    for first, end in _runs(groups, R):
        common = _common_prefix(sequences[first:end]) if end - first > 1 else 0
        begins.append((n, first))
        groups_at.append(len(starts))
        prefix = add(sequences[first][:common], 0, first)
        if common:
            shared.append((int(prefix[0]), common, first, end))
        for row in range(first, end):
            rows[row, :common] = prefix
            rows[row, common : len(sequences[row])] = add(sequences[row][common:], common, row)
    lengths = np.array([len(s) for s in sequences])
    last = rows[np.arange(R), lengths - 1]
    return PackedBatch(
        ids=torch.from_numpy(np.concatenate(ids).astype(np.int64)),
        positions=torch.from_numpy(np.concatenate(positions)),
        rows=torch.from_numpy(rows),
        back=torch.from_numpy(np.concatenate(back)),
        shared=tuple(shared),
        last=torch.from_numpy(last),
        starts=torch.tensor([*starts, n]),
        groups=torch.tensor([*groups_at, len(starts)]),
        blocks=tuple(_blocks([*begins, (n, R)], lengths, rows, np.concatenate(back), shared)),
    )


def _blocks(
    begins: Sequence[tuple[int, int]],
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    back: NDArray[np.int64],
    shared: Sequence[tuple[int, int, int, int]],
) -> Iterator[AttentionBlock]:
    """Whole groups, until the padded rows hold ``BLOCK_TOKENS``; ``begins`` ends with (N, R)."""
    T = rows.shape[1]
    begin, first = begins[0]
    for end, row in begins[1:]:
        longest = int(lengths[first:row].max())
        if (row - first) * longest < BLOCK_TOKENS and end < begins[-1][0]:
            continue
        place = back[begin:end]
        yield AttentionBlock(
            start=begin,
            end=end,
            rows=torch.from_numpy(np.maximum(rows[first:row, :longest] - begin, 0)),
            back=torch.from_numpy((place // T - first) * longest + place % T),
            shared=tuple((s - begin, n, a - first, b - first) for s, n, a, b in shared if first <= a < row),
        )
        begin, first = end, row


def split_by_budget(lengths: Sequence[int], budget: int, groups: Sequence[object] | None = None) -> list[list[int]]:
    """Cut sequences into micro-batches of at most ``budget`` tokens, groups kept whole.

    Groups of like length go together, so that attention rows pad little. A group larger than the
    budget is a micro-batch of its own. Returns index lists that cover every sequence once.
    """
    runs = sorted(_runs(groups, len(lengths)), key=lambda run: max(lengths[run[0] : run[1]]))
    batches: list[list[int]] = []
    used = budget + 1
    for first, end in runs:
        need = sum(lengths[first:end])
        if used + need > budget:
            batches.append([])
            used = 0
        batches[-1].extend(range(first, end))
        used += need
    return batches


def _runs(groups: Sequence[object] | None, count: int) -> list[tuple[int, int]]:
    """(first, end) of every run of equal neighbours; every sequence alone without groups."""
    if groups is None:
        return [(i, i + 1) for i in range(count)]
    starts = [i for i in range(count) if i == 0 or groups[i] != groups[i - 1]]
    return list(zip(starts, [*starts[1:], count], strict=False))


def _common_prefix(sequences: Sequence[NDArray[np.integer]]) -> int:
    shortest = min(len(s) for s in sequences)
    stacked = np.stack([s[:shortest] for s in sequences])
    differs = (stacked != stacked[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


class ToRows(torch.autograd.Function):
    """(N, ...) unique tokens -> (R, T, ...) attention rows; the gradient of shared tokens is summed."""

    @staticmethod
    def forward(ctx, x: Tensor, batch: PackedBatch) -> Tensor:
        ctx.batch = batch
        return x.index_select(0, batch.rows.flatten()).view(*batch.rows.shape, *x.shape[1:])

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), batch = grads, ctx.batch
        out = grad.flatten(0, 1).index_select(0, batch.back)
        for start, length, first, end in batch.shared:
            out[start : start + length] += grad[first + 1 : end, :length].sum(0)
        return out, None


class FromRows(torch.autograd.Function):
    """(R, T, ...) attention rows -> (N, ...) unique tokens, each taken from its first row.

    Causality makes the copies in the other rows equal, so only the first needs a gradient.
    """

    @staticmethod
    def forward(ctx, x: Tensor, batch: PackedBatch) -> Tensor:
        ctx.batch, ctx.shape = batch, x.shape
        return x.flatten(0, 1).index_select(0, batch.back)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        out = grad.new_zeros((ctx.shape[0] * ctx.shape[1], *ctx.shape[2:]))
        return out.index_copy_(0, ctx.batch.back, grad).view(ctx.shape), None
