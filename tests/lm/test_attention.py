"""Attention over packed batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from custodes.lm import packing
from custodes.lm.attention import attend
from custodes.lm.packing import PackedBatch, pack

H, G, D = 4, 2, 8


def batch_of(
    lengths: list[int], shared: int, per_group: int = 2, seed: int = 0
) -> tuple[PackedBatch, list[np.ndarray]]:
    """Sequences whose groups of ``per_group`` share their first ``shared`` tokens."""
    rng = np.random.default_rng(seed)
    sequences, groups = [], []
    for i, length in enumerate(lengths):
        if i % per_group == 0:
            prefix = rng.integers(0, 100, shared)
        sequences.append(np.concatenate([prefix, 100 + i + 50 * rng.integers(0, 9, length)]))
        groups.append(i // per_group)
    return pack(sequences, groups), sequences


def tensors(n: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((n, H, D), (n, G, D), (n, G, D), (n, H, D))
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def one_by_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Each sequence on its own, by the definition; tokens that sequences share are written by each of them."""
    out = torch.zeros_like(q)
    for row, last in zip(batch.rows, batch.last, strict=True):
        index = row[: int(batch.positions[last]) + 1]
        heads = [x[index].transpose(0, 1).repeat_interleave(H // x.shape[1], 0) for x in (q, k, v)]
        scores = heads[0] @ heads[1].mT * D**-0.5
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        out = out.index_copy(0, index, (scores.softmax(-1) @ heads[2]).transpose(0, 1))
    return out


@pytest.mark.parametrize("lengths", [[1], [5, 3], [3, 4, 90, 1, 70, 130], [200, 1, 1, 1]])
@pytest.mark.parametrize("shared", [0, 7, 80])
def test_packed_attention_and_its_gradient_are_those_of_each_sequence(
    lengths: list[int], shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "BLOCK_TOKENS", 100)  # several blocks
    batch, _ = batch_of(lengths, shared)
    q, k, v, weight = tensors(batch.tokens, torch.float64)
    inputs = (q, k, v)
    ours, plain = attend(*inputs, batch), one_by_one(*inputs, batch)
    torch.testing.assert_close(ours, plain)
    grads = [torch.autograd.grad((x * weight).sum(), inputs) for x in (ours, plain)]
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_bfloat16_gradients_are_as_near_to_the_truth_as_bfloat16_allows() -> None:
    batch, _ = batch_of([150, 120, 90, 130], 40)
    given = tensors(batch.tokens, torch.bfloat16)
    exact = [t.detach().double().requires_grad_() for t in given]
    ours = torch.autograd.grad((attend(*given[:3], batch) * given[3]).sum(), given[:3])
    truth = torch.autograd.grad((one_by_one(*exact[:3], batch) * exact[3]).sum(), exact[:3])
    for got, true in zip(ours, truth, strict=True):
        assert (got.double() - true).norm() < 0.01 * true.norm()


def test_blocks_cover_every_token_once_and_pad_less_than_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BLOCK_TOKENS", 100)
    batch, _ = batch_of([3, 4, 50, 40, 300, 250], 10)
    assert [b.start for b in batch.blocks] == [0, *(b.end for b in batch.blocks[:-1])]
    assert batch.blocks[-1].end == batch.tokens
    assert sum(len(b.rows) for b in batch.blocks) == len(batch.rows)
    assert sum(b.rows.numel() for b in batch.blocks) < batch.rows.numel()
    for block in batch.blocks:
        torch.testing.assert_close(block.rows.flatten()[block.back], torch.arange(block.end - block.start))
