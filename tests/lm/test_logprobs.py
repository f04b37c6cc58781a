from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custodes.lm import logprobs
from custodes.lm.kernels import native
from custodes.lm.logprobs import token_logprobs

M, D, V = 10, 6, 17  # M is no multiple of the chunks and blocks below


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logprobs, "CHUNK", 4)
    monkeypatch.setattr(logprobs, "BLOCK", 8)
    monkeypatch.setattr(logprobs, "COMPILED_CHUNK", 4)


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(M, D, generator=generator, dtype=dtype)
    head = torch.randn(V, D, generator=generator, dtype=dtype)
    return hidden, head, torch.randint(V, (M,), generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
def test_values_are_those_of_the_full_table(temperature: float):
    hidden, head, targets = inputs()
    table = torch.distributions.Categorical(logits=hidden @ head.T / temperature)
    logp, entropy = token_logprobs(hidden, head, targets, temperature, entropy=True)
    torch.testing.assert_close(logp, table.log_prob(targets))
    torch.testing.assert_close(entropy, table.entropy())
    assert not token_logprobs(hidden, head, targets, temperature)[1].any()


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("contiguous", [True, False])
def test_hand_written_gradient_is_the_numerical_one(entropy: bool, temperature: float, contiguous: bool):
    hidden, head, targets = inputs()
    if not contiguous:
        hidden, head = hidden.T.contiguous().T, head.T.contiguous().T
        targets = torch.stack([targets, targets], 1)[:, 0]
        assert not any(t.is_contiguous() for t in (hidden, head, targets))
    hidden.requires_grad_()
    head.requires_grad_()

    def both(hidden: Tensor, head: Tensor) -> tuple[Tensor, ...]:
        return token_logprobs(hidden, head, targets, temperature, entropy)[: 1 + entropy]

    assert torch.autograd.gradcheck(both, (hidden, head))


@pytest.mark.parametrize("wanted", ["hidden", "head"])
def test_only_what_is_wanted_gets_a_gradient(wanted: str):
    hidden, head, targets = inputs()
    (hidden if wanted == "hidden" else head).requires_grad_()
    token_logprobs(hidden, head, targets)[0].sum().backward()
    assert (hidden.grad is not None) == (wanted == "hidden")
    assert (head.grad is not None) == (wanted == "head")


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch):
    results = []
    for chunk in (3, 1000):
        monkeypatch.setattr(logprobs, "CHUNK", chunk)
        monkeypatch.setattr(logprobs, "BLOCK", 2 * chunk)
        hidden, head, targets = inputs()
        hidden.requires_grad_()
        logp, entropy = token_logprobs(hidden, head, targets, 0.9, entropy=True)
        (logp.square().sum() + entropy.sum()).backward()
        results.append((logp, entropy, hidden.grad))
    for few, one in zip(*results, strict=True):
        torch.testing.assert_close(few, one)


def test_bfloat16_input_gives_float32_logprobs_that_sum_to_one():
    hidden, head, _ = inputs(torch.bfloat16)
    logp = torch.stack([token_logprobs(hidden, head, torch.full((M,), token))[0] for token in range(V)])
    assert logp.dtype == torch.float32
    torch.testing.assert_close(logp.exp().sum(0), torch.ones(M))


@pytest.mark.skipif(native(torch.float32) is None, reason="no C compiler here")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kept", [0, 2**20])
@pytest.mark.parametrize("wanted", ["hidden", "head", "both"])
def test_compiled_steps_give_the_full_table_and_its_gradient(
    dtype: torch.dtype, bound: float, entropy: bool, temperature: float, kept: int, wanted: str, monkeypatch
):
    monkeypatch.setattr(logprobs, "KEPT_BYTES", kept)
    hidden, head, targets = inputs(dtype)
    exact = [t.double().requires_grad_() for t in (hidden, head)]
    for name, t in (("hidden", hidden), ("head", head)):
        t.requires_grad_(wanted in (name, "both"))
    # as exact as logits that were rounded once: those that a bfloat16 product gives
    logits = exact[0] @ exact[1].T
    rounded = logits + ((hidden @ head.T).double() - logits).detach()
    table = torch.distributions.Categorical(logits=rounded / temperature)
    truth, ours = (
        (table.log_prob(targets), table.entropy()),
        token_logprobs(hidden, head, targets, temperature, entropy),
    )
    weights = torch.randn(2, M, generator=torch.Generator().manual_seed(1))

    def summed(found: tuple[Tensor, ...]) -> Tensor:
        return (found[0] * weights[0]).sum() + ((found[1] * weights[1]).sum() if entropy else 0.0)

    torch.testing.assert_close(ours[0].double(), truth[0], atol=1e-5, rtol=1e-5)
    if entropy:
        torch.testing.assert_close(ours[1].double(), truth[1], atol=1e-5, rtol=1e-5)
    else:
        assert not ours[1].any()
    true = torch.autograd.grad(summed(truth), exact)
    for _ in range(2):  # the second time the table has been used up
        hidden.grad = head.grad = None
        summed(ours).backward(retain_graph=True)
        for got, want in zip((hidden.grad, head.grad), true, strict=True):
            assert got is None or (got.double() - want).norm() <= bound * want.norm()
    assert (hidden.grad is None, head.grad is None) == (wanted == "head", wanted == "hidden")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_positions_is_no_error(dtype: torch.dtype):
    hidden, head, targets = inputs(dtype)
    hidden.requires_grad_()
    logp, _ = token_logprobs(hidden[:0], head, targets[:0])
    logp.sum().backward()
    assert logp.shape == (0,)
    assert not hidden.grad.any()  # type: ignore[union-attr]
