"""Attention over packed batches."""

from __future__ import annotations

import functools
import itertools
import platform
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from custodes.lm import attention, kernels, packing
from custodes.lm.attention import _compiled, attend
from custodes.lm.kernels import DEFINES, Native, native
from custodes.lm.packing import PackedBatch, pack

H, G, D = 4, 2, 8
LENGTHS = [[1], [5, 3], [3, 4, 90, 1, 70, 130], [200, 1, 1, 1]]


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


def tensors(n: int, dtype: torch.dtype, heads: tuple[int, int, int] = (H, G, D)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    H, G, D = heads
    sizes = ((n, H, D), (n, G, D), (n, G, D), (n, H, D))
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def one_by_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Each sequence on its own, by the definition; tokens that sequences share are written by each of them."""
    out, (_, H, D) = torch.zeros_like(q), q.shape
    for row, last in zip(batch.rows, batch.last, strict=True):
        index = row[: int(batch.positions[last]) + 1]
        heads = [x[index].transpose(0, 1).repeat_interleave(H // x.shape[1], 0) for x in (q, k, v)]
        scores = heads[0] @ heads[1].mT * D**-0.5
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        out = out.index_copy(0, index, (scores.softmax(-1) @ heads[2]).transpose(0, 1))
    return out


@pytest.mark.parametrize("lengths", LENGTHS)
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


EXTENSIONS = ("as it is", "without bfloat16 products", "AVX2", "no extension")


@pytest.fixture(scope="module", params=EXTENSIONS)
def on_processor(request: pytest.FixtureRequest) -> Iterator[Callable[[torch.dtype], Native]]:
    """The compiled steps as a processor with fewer extensions would have them."""
    if native(torch.float32) is None:
        pytest.skip("no C compiler here")
    if platform.machine() != "x86_64" and request.param != "as it is":
        pytest.skip("extensions of x86-64")
    tuning = {
        "as it is": kernels.TUNING,
        "without bfloat16 products": (*kernels.TUNING, "-mno-avx512bf16"),
        "AVX2": ("-march=x86-64-v3",),
        "no extension": ("-march=x86-64",),
    }
    if request.param == "AVX2" and "avx2" not in kernels._processor():
        pytest.skip("this processor has no AVX2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "TUNING", tuning[request.param])
        yield functools.cache(native.__wrapped__)


HEADS = [(4, 2, 32), (9, 3, 64), (5, 1, 64), (3, 3, 96), (2, 1, 128)]
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 0.01}  # of the norm


@pytest.mark.parametrize("dtype", DEFINES)
@pytest.mark.parametrize("heads", HEADS)
def test_compiled_attention_and_its_gradient_are_those_of_each_sequence(
    on_processor: Callable[[torch.dtype], Native],
    heads: tuple[int, int, int],
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = on_processor(dtype)
    monkeypatch.setattr(attention, "native", lambda dtype: kernels)
    for lengths, shared in itertools.product(LENGTHS[1:], (0, 7, 80)):
        batch, _ = batch_of(lengths, shared, per_group=3)
        given = tensors(batch.tokens, dtype, heads)
        assert _compiled(given[0]) is kernels
        exact = [t.detach().double().requires_grad_() for t in given]
        ours, truth = attend(*given[:3], batch), one_by_one(*exact[:3], batch)
        grads = torch.autograd.grad((ours * given[3]).sum(), given[:3])
        true_grads = torch.autograd.grad((truth * exact[3]).sum(), exact[:3])
        for got, true in zip((ours, *grads), (truth, *true_grads), strict=True):
            assert (got.double() - true).norm() <= BOUNDS[dtype] * true.norm()


def test_compiled_attention_reads_tokens_that_lie_apart_and_scores_far_from_zero() -> None:
    """q, k and v are parts of one product's rows, and a score of 400 must not overflow."""
    if native(torch.float32) is None:
        pytest.skip("no C compiler here")
    batch, _ = batch_of([40, 30], 20)
    rows = torch.randn(batch.tokens, 8, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = rows.split([4, 2, 2], dim=1)
    assert not v.is_contiguous()
    q, k = 20 * q, 20 * k
    exact = [t.double() for t in (q, k, v)]
    torch.testing.assert_close(attend(q, k, v, batch).double(), one_by_one(*exact, batch), atol=1e-3, rtol=1e-3)


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
