"""The steps between the matrix products, forward and backward, each in a single pass where it can be.

On bfloat16 and float32 CPU tensors the compiled kernels run; anywhere else, torch. Both round at the same places.

Letters: N tokens, d size of the last dimension, D head dimension, I intermediate size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from custodes.lm.kernels import Native, native


@dataclass(frozen=True, slots=True, eq=False)
class Rotary:
    """cos and sin of the rotary embedding, (N, 1, D)."""

    cos: Tensor
    sin: Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension, statistics in float32 (arXiv 1910.07467)."""
    return _RmsNorm.apply(x, weight, eps)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of x (N, heads, D)."""
    return _Rotate.apply(x, rotary.cos, rotary.sin)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (arXiv 2002.05202), with gate and up side by side in (N, 2 I)."""
    return _SwiGlu.apply(gate_up)


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        kernels = _kernels(x)
        if kernels is not None and x.dim() == 2 and x.stride(1) == 1:
            out, scale = x.new_empty(x.shape), torch.empty(len(x), 1)
            kernels.norm(x, weight, out, scale, eps)
        else:
            wide = x.float() if x.dtype == torch.bfloat16 else x
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(eps))
            out = (wide * scale).to(x.dtype) * weight
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (grad,), (x, weight, scale) = grads, ctx.saved_tensors
        d_weight = None
        if ctx.needs_input_grad[1]:
            d_weight = (grad * (x * scale)).flatten(0, -2).sum(0).to(weight.dtype)
        kernels = _kernels(x)
        if kernels is not None and x.dim() == 2 and x.stride(1) == 1:
            d_x = x.new_empty(x.shape)
            kernels.norm_backward(grad.contiguous(), x, weight, scale, d_x)
            return d_x, d_weight, None
        d_normal, normal = (grad * weight).to(scale.dtype), x * scale
        inner = torch.linalg.vecdot(d_normal, normal).div_(x.shape[-1]).unsqueeze(-1)
        return torch.addcmul(d_normal, normal, inner, value=-1).mul_(scale).to(x.dtype), d_weight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, sin, -1.0), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    kernels = _kernels(x)
    if kernels is not None and x.stride()[1:] == (x.shape[2], 1):
        out = x.new_empty(x.shape)
        kernels.rotate(x, cos, sin, out, sign)
        return out
    a, b = x.chunk(2, -1)
    return torch.addcmul(x * cos, torch.cat((-b, a), -1), sin, value=sign)


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        kernels = _kernels(gate_up)
        if kernels is not None:
            out = gate_up.new_empty((len(gate_up), gate_up.shape[1] // 2))
            kernels.swiglu(gate_up, out)
            return out
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (grad,), (gate_up,) = grads, ctx.saved_tensors
        out, kernels = torch.empty_like(gate_up), _kernels(gate_up)
        if kernels is not None:
            kernels.swiglu_backward(grad.contiguous(), gate_up, out)
            return out
        gate, up = gate_up.chunk(2, -1)
        d_gate, d_up = out.chunk(2, -1)
        d_up.copy_(grad * F.silu(gate))
        d_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return out


def _kernels(x: Tensor) -> Native | None:
    return native(x.dtype) if x.device.type == "cpu" else None
