"""Log-probabilities of chosen tokens without ever holding the full table of logits.

A [2048, 49152] table costs more than the whole transformer of a small model. Here logits exist for
one chunk of positions at a time, in cache; the backward pass computes them again and writes the
gradient by hand: d logp[y] / d logit[j] = (j == y) - p[j], d H / d logit[j] = -p[j] (log p[j] + H).
Where the steps are compiled, each is one pass over a chunk, and a table that is small is kept for the backward pass after all.

Letters: M positions, d hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.lm.kernels import Native, native

CHUNK = 128
"""Positions per chunk: at V = 49,152 in bfloat16 a chunk of logits is 12 MB, which stays in cache."""

BLOCK = 2048
"""Positions whose gradients reach the head in one product: 200 MB at V = 49,152 in bfloat16, and for a usual
micro-batch one pass over the head's own gradient (as large as the head) instead of sixteen."""

COMPILED_CHUNK = 256
"""Positions per chunk where the steps are compiled: a row is read twice in a row, and products of more rows are faster."""

KEPT_BYTES = 256 * 2**20
"""A table of logits up to this size is kept for the backward pass: 2,700 positions at V = 49,152 in bfloat16."""


def token_logprobs(
    hidden: Tensor, head: Tensor, targets: Tensor, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target under softmax(hidden @ head.T / temperature).

    Args: hidden (M, d); head (V, d); targets (M,) int64; temperature > 0.
    Returns: logprobs (M,) and entropies (M,), both nats, float32 (float64 for float64 input).
    Entropies are zeros unless ``entropy`` is true. Gradients flow to ``hidden`` and ``head``.
    """
    kernels = native(hidden.dtype) if hidden.device.type == "cpu" and head.dtype == hidden.dtype else None
    if kernels is not None:
        return _CompiledLogprobs.apply(hidden, head, targets.contiguous(), temperature, entropy, kernels)
    return _TokenLogprobs.apply(hidden, head, targets, temperature, entropy)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, entropy: bool):
        wide = torch.promote_types(hidden.dtype, torch.float32)
        logprobs = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        entropies = torch.zeros_like(logprobs)
        normaliser = torch.empty_like(logprobs)
        for part in _chunks(len(hidden), CHUNK):
            logits = _logits(hidden[part], head, temperature, wide)
            normaliser[part] = logits.logsumexp(-1)
            logprobs[part] = logits.gather(-1, targets[part, None]).squeeze(-1) - normaliser[part]
            if entropy:
                p = torch.exp(logits - normaliser[part, None])
                entropies[part] = normaliser[part] - (p * logits).sum(-1)
        ctx.save_for_backward(hidden, head, targets, normaliser, entropies)
        ctx.temperature, ctx.entropy = temperature, entropy
        return logprobs, entropies

    @staticmethod
    def backward(ctx, *grads: Tensor):
        hidden, head, targets, normaliser, entropies = ctx.saved_tensors
        grad_logprob, grad_entropy = (grad / ctx.temperature for grad in grads)  # of the logits before the division
        want_hidden, want_head = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if want_hidden else None
        grad_head: Tensor | None = None
        block = hidden.new_empty((min(BLOCK if want_head else CHUNK, len(hidden)), len(head)))
        for part in _chunks(len(hidden), CHUNK):
            logp = _logits(hidden[part], head, ctx.temperature, normaliser.dtype).sub_(normaliser[part, None])
            if ctx.entropy:
                weight = (logp + entropies[part, None]).mul_(grad_entropy[part, None]).add_(grad_logprob[part, None])
                d_wide = logp.exp_().mul_(weight).neg_()
            else:
                d_wide = logp.exp_().mul_(-grad_logprob[part, None])
            d_wide.scatter_add_(-1, targets[part, None], grad_logprob[part, None])
            start = part.start % len(block)
            d_logits = block[start : start + len(d_wide)].copy_(d_wide)
            if grad_hidden is not None:
                grad_hidden[part] = d_logits @ head
            filled = start + len(d_wide)
            if want_head and (filled == len(block) or part.stop == len(hidden)):
                product = block[:filled].T @ hidden[part.stop - filled : part.stop]
                grad_head = product if grad_head is None else grad_head.to(normaliser.dtype).add_(product)
        return grad_hidden, None if grad_head is None else grad_head.to(head.dtype), None, None, None


class _CompiledLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, entropy: bool, kernels: Native
    ) -> tuple[Tensor, Tensor]:
        M, V = len(hidden), len(head)
        keep = any(ctx.needs_input_grad[:2]) and M * V * hidden.element_size() <= KEPT_BYTES
        table = hidden.new_empty((M if keep else min(COMPILED_CHUNK, M), V))
        normaliser, logprobs, entropies = torch.empty(M), torch.empty(M), torch.zeros(M)
        for part in _chunks(M, COMPILED_CHUNK):
            logits = table[part] if keep else table[: part.stop - part.start]
            torch.mm(hidden[part], head.T, out=logits)
            found = normaliser[part], logprobs[part], entropies[part] if entropy else None
            kernels.logprobs(logits, targets[part], temperature, *found)
        ctx.save_for_backward(hidden, head, targets, normaliser, entropies)
        ctx.temperature, ctx.entropy, ctx.kernels, ctx.table = temperature, entropy, kernels, table if keep else None
        return logprobs, entropies

    @staticmethod
    def backward(ctx, *grads: Tensor):
        hidden, head, targets, normaliser, entropies = ctx.saved_tensors
        grad_logprob, grad_entropy = (grad.contiguous() for grad in grads)
        want_hidden, want_head = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if want_hidden else None
        grad_head: Tensor | None = None
        kept, ctx.table = ctx.table, None  # it becomes the gradient; a second backward pass computes it again
        for block in _chunks(len(hidden), len(hidden) if kept is not None else BLOCK if want_head else COMPILED_CHUNK):
            table = kept if kept is not None else hidden.new_empty((block.stop - block.start, len(head)))
            for part in _chunks(len(table), COMPILED_CHUNK):
                logits, place = table[part], slice(block.start + part.start, block.start + part.stop)
                if kept is None:
                    torch.mm(hidden[place], head.T, out=logits)
                spread = (entropies[place], grad_logprob[place], grad_entropy[place])
                given = spread if ctx.entropy else (None, grad_logprob[place], None)
                ctx.kernels.logprobs_backward(logits, targets[place], ctx.temperature, normaliser[place], *given)
                if grad_hidden is not None:
                    torch.mm(logits, head, out=grad_hidden[place])
            if want_head:
                product = table.T @ hidden[block]
                grad_head = product if grad_head is None else grad_head.to(normaliser.dtype).add_(product)
        return grad_hidden, None if grad_head is None else grad_head.to(head.dtype), None, None, None, None


def _logits(hidden: Tensor, head: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    logits = torch.nn.functional.linear(hidden, head).to(dtype)
    return logits if temperature == 1 else logits.div_(temperature)


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, max(size, 1))]
