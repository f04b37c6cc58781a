"""Causal attention over packed batches, forward and backward.

On CPU it is compiled (``packed_attention.c``) and sees the unique tokens as they lie. Where there is no compiler, or the
head dimension is not a multiple of 32, or the type is float64, it sees padded rows. The backward pass of torch's fused kernel
costs ten times its arithmetic on CPU, so that there it is five batched products per block of queries, with what
stands between them in as few passes as possible. The normaliser of the softmax, and the row sums that its gradient
subtracts, ride along in the products as two extra columns each: a high and a low part, so that bfloat16 carries
them well enough. The first product then *is* log P,
whose rounding error vanishes where P is near 1. Rows are taken in blocks of like length.

Letters: R rows, T tokens of the longest, H heads, G key-value heads, D head dimension, N unique tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from custodes.lm.kernels import HEAD_MULTIPLE, Native, native
from custodes.lm.packing import FromRows, PackedBatch, ToRows

QUERIES = 64
"""Queries per step of the backward pass: keys after a step's last query are left out."""


def attend(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over earlier tokens of each row; q (N, H, D), k and v (N, G, D) -> (N, H, D)."""
    kernels = _compiled(q)
    if kernels is not None:
        return _AttendPacked.apply(q, k, v, batch, kernels)
    mixed = []
    for block in batch.blocks:
        tokens = slice(block.start, block.end)
        rows_q, rows_k, rows_v = (ToRows.apply(t[tokens], block).transpose(1, 2) for t in (q, k, v))
        if q.device.type == "cpu":
            out = _Attend.apply(rows_q, rows_k, rows_v)
        else:
            grouped = q.shape[1] != k.shape[1]
            out = F.scaled_dot_product_attention(rows_q, rows_k, rows_v, is_causal=True, enable_gqa=grouped)
        mixed.append(FromRows.apply(out.transpose(1, 2), block))
    return torch.cat(mixed) if len(mixed) > 1 else mixed[0]


def _compiled(q: Tensor) -> Native | None:
    """The compiled steps where they can attend from q (N, H, D)."""
    return native(q.dtype) if q.device.type == "cpu" and q.shape[2] % HEAD_MULTIPLE == 0 else None


class _AttendPacked(torch.autograd.Function):
    """q (N, H, D), k and v (N, G, D) -> (N, H, D)."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, kernels: Native) -> Tensor:
        q, k, v = (_dense_rows(x) for x in (q, k, v))
        out, normaliser = kernels.packed_attend(q, k, v, batch.starts, batch.groups)
        ctx.save_for_backward(q, k, v, out, normaliser)
        ctx.batch, ctx.kernels = batch, kernels
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, batch = ctx.saved_tensors, ctx.batch
        found = ctx.kernels.packed_attend_backward(grads[0].contiguous(), *kept, batch.starts, batch.groups)
        return *found, None, None


def _dense_rows(x: Tensor) -> Tensor:
    """x (N, heads, D), of which a token's part lies without gaps."""
    return x if x.stride()[1:] == (x.shape[2], 1) else x.contiguous()


class _Attend(torch.autograd.Function):
    """q (R, H, T, D), k and v (R, G, T, D) -> (R, H, T, D)."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
        ctx.save_for_backward(q, k, v, out, normaliser)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, normaliser = ctx.saved_tensors
        R, H, T, D = q.shape
        G = k.shape[1]
        repeats = H // G  # queries of one time that share a key

        def by_key(x: Tensor) -> Tensor:  # (R, H, T, n) -> (R G, T repeats, n): a time's queries side by side
            return x.reshape(R, G, repeats, T, -1).transpose(2, 3).reshape(R * G, T * repeats, -1)

        queries, grad = by_key(q) * D**-0.5, by_key(grads[0])
        inner = (grad * by_key(out)).sum(-1, keepdim=True, dtype=normaliser.dtype)
        queries_and, grad_and = _with(queries, by_key(normaliser.unsqueeze(-1))), _with(grad, inner)
        keys, values = (x.reshape(R * G, T, D) for x in (k, v))
        ones = keys.new_ones(R * G, T, 2)
        keys_and, values_and = torch.cat([keys, ones], -1), torch.cat([values, ones], -1)
        d_queries = torch.empty_like(queries)
        d_keys, d_values = (torch.zeros(R * G, T, D, dtype=normaliser.dtype) for _ in range(2))
        for first in range(0, T, QUERIES):
            end = min(first + QUERIES, T)
            now = slice(first * repeats, end * repeats)
            p = torch.bmm(queries_and[:, now], keys_and[:, :end].mT).exp_()
            later = torch.ones(end - first, end - first, dtype=torch.bool).triu_(1).repeat_interleave(repeats, 0)
            p[:, :, first:].masked_fill_(later, 0.0)
            d_values[:, :end] += torch.bmm(p.mT, grad[:, now])
            d_scores = torch.bmm(grad_and[:, now], values_and[:, :end].mT).mul_(p)
            d_keys[:, :end] += torch.bmm(d_scores.mT, queries[:, now])
            torch.bmm(d_scores, keys[:, :end], out=d_queries[:, now])
        d_queries = d_queries.mul_(D**-0.5).view(R, G, T, repeats, D).transpose(2, 3).reshape(R, H, T, D)
        return d_queries, d_keys.to(k.dtype).view_as(k), d_values.to(v.dtype).view_as(v)


def _with(x: Tensor, subtracted: Tensor) -> Tensor:
    """(..., D) and what a product with ones is to subtract (..., 1) -> (..., D + 2)."""
    high = subtracted.to(x.dtype)
    return torch.cat([x, -high, -(subtracted - high).to(x.dtype)], -1)
