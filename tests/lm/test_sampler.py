from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from custodes.lm.kernels import Native, native
from custodes.lm.sampler import draw_tokens, stream, uniforms

DRAWS = 20_000
LARGEST = 1 - 2.0**-53  # the last number below 1


@pytest.fixture(params=[None, torch.bfloat16, torch.float32], ids=["torch", "bfloat16", "float32"])
def path(request: pytest.FixtureRequest) -> Native | None:
    """Which implementation draws: torch, or the compiled one."""
    if request.param is not None and native(request.param) is None:
        pytest.skip("no C compiler here")
    return None if request.param is None else native(request.param)


def peaked_logits(vocab: int) -> Tensor:
    """Exact in bfloat16, so that both implementations see the same distribution."""
    logits = torch.randn(vocab, generator=torch.Generator().manual_seed(3)) * 2
    logits[::7] = -torch.inf
    return logits.bfloat16()


def taken(path: Native | None, logits: Tensor) -> Tensor:
    """In the type that the implementation takes."""
    return logits.to(torch.bfloat16 if path is None else path.dtype).contiguous()


def some_uniforms(count: int, seed: int = 0) -> np.ndarray:
    return uniforms(np.full(count, stream(seed, b"prompt", 0), np.uint64), np.arange(count))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("vocab", [50, 256, 600])  # below, at and above a block of the two-level inversion
def test_tokens_follow_the_softmax(path: Native | None, vocab: int, temperature: float):
    logits = peaked_logits(vocab)
    expected = (logits.double() / temperature).softmax(-1).numpy()
    tokens, logprobs = draw_tokens(
        taken(path, logits.expand(DRAWS, -1)), some_uniforms(DRAWS), temperature, native=path
    )
    counts = np.bincount(tokens.numpy(), minlength=vocab)
    common = expected * DRAWS >= 5  # what chi-square needs; the rest is one class
    rest = [counts[~common].sum()], [expected[~common].sum() * DRAWS]
    observed, wanted = np.append(counts[common], rest[0]), np.append(expected[common] * DRAWS, rest[1])
    assert stats.chisquare(observed[wanted > 0], wanted[wanted > 0]).pvalue > 1e-3
    assert counts[expected == 0].sum() == 0
    np.testing.assert_allclose(logprobs, np.log(expected[tokens]), atol=2e-5)


@pytest.mark.parametrize("uniform", [0.0, 0.5, LARGEST])
@pytest.mark.parametrize("possible", [[0], [299], [255], [256], [3, 40], [10, 290]])
def test_an_impossible_token_is_never_drawn(path: Native | None, uniform: float, possible: list[int]):
    logits = torch.full((1, 300), -torch.inf)
    logits[0, possible] = 1.0
    tokens, logprobs = draw_tokens(taken(path, logits), np.array([uniform]), 1.0, native=path)
    assert int(tokens) in possible
    assert float(logprobs) == pytest.approx(-np.log(len(possible)), abs=1e-6)


def test_rounding_at_the_edge_of_a_block_draws_no_impossible_token(path: Native | None):
    """Uniforms within float32 rounding of the place where a block's possible tokens end."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 512, generator=generator).bfloat16()
    logits[:, 200:300] = logits[:, 500:] = -torch.inf
    p = (logits.double() - logits.double().amax(-1, keepdim=True)).exp()
    edge = p[:, :256].sum(-1) / p.sum(-1)
    uniform = edge + 3e-7 * (2 * torch.rand(2000, generator=generator, dtype=torch.float64) - 1)
    tokens, logprobs = draw_tokens(taken(path, logits), uniform.numpy(), 1.0, native=path)
    assert torch.isfinite(logits.gather(1, tokens[:, None])).all()
    assert torch.isfinite(logprobs).all()


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.7), (20, 0.5), (1, 1.0), (0, 1e-9), (1000, 1.0)])
def test_truncation_keeps_its_support_and_renormalises(top_k: int, top_p: float):
    logits, temperature = peaked_logits(300), 0.8
    p = (logits.double() / temperature).softmax(-1)
    order = p.argsort(descending=True)
    kept = order[: top_k or len(order)]
    share = p[kept] / p[kept].sum()
    if top_p < 1:
        kept = kept[: int((share.cumsum(0) < top_p).sum()) + 1]
    possible = {int(token) for token in kept if p[token] > 0}
    tokens, logprobs = draw_tokens(logits.expand(DRAWS, -1), some_uniforms(DRAWS), temperature, top_k, top_p)
    assert set(tokens.tolist()) <= possible
    if len(possible) < 30:
        assert set(tokens.tolist()) == possible
    renormalised = p / p[list(possible)].sum()
    np.testing.assert_allclose(logprobs.double().exp(), renormalised[tokens], rtol=1e-4)


def test_temperature_0_takes_the_most_likely_token():
    logits = torch.stack([peaked_logits(300), peaked_logits(300).flip(0)])
    tokens, logprobs = draw_tokens(logits, np.array([0.99, 0.01]), 0.0)
    assert tokens.tolist() == logits.argmax(-1).tolist()
    assert torch.allclose(logprobs, logits.float().log_softmax(-1).amax(-1))


def test_torch_and_compiled_draws_are_the_same_tokens():
    if native(torch.bfloat16) is None:
        pytest.skip("no C compiler here")
    logits = torch.randn(64, 5000, generator=torch.Generator().manual_seed(1)).mul(3).bfloat16()
    uniform = some_uniforms(64)
    ours, logp = draw_tokens(logits, uniform, 0.9, native=native(torch.bfloat16))
    theirs, reference = draw_tokens(logits, uniform, 0.9)
    assert (ours == theirs).float().mean() > 0.98  # rounding moves a token's edge now and then
    same = ours == theirs
    torch.testing.assert_close(logp[same], reference[same], atol=2e-5, rtol=0)


def test_uniforms_are_uniform_and_below_one():
    numbers = some_uniforms(DRAWS)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    first_steps = uniforms(np.array([stream(0, b"p", i) for i in range(DRAWS)], np.uint64), np.zeros(DRAWS, np.int64))
    assert stats.kstest(first_steps, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


def test_a_request_meets_the_same_numbers_whatever_the_batch():
    keys = np.array([stream(0, b"a", 0), stream(0, b"a", 1), stream(0, b"b", 0), stream(1, b"a", 0)], np.uint64)
    steps = np.array([5, 0, 2, 5])
    together = uniforms(keys, steps)
    alone = [uniforms(keys[i : i + 1], steps[i : i + 1])[0] for i in range(4)]
    assert together.tolist() == alone
    assert len(set(keys.tolist())) == 4  # seed, prompt and sample all count
