"""One decoding step: a token in, logits out, over a static cache of keys and values.

A :class:`Cache` holds ``slots`` sequences; the first B of them are alive. Sequences that end are
replaced or the last alive one moves into their place, so a step never computes for the dead.

Letters: B sequences alive, L layers, G key-value heads, D head dimension, T capacity in tokens,
d hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from custodes.lm.adapter import Adapter
from custodes.lm.decoder import Decoder, Rotary, rms_norm, rotate, swiglu
from custodes.lm.kernels import Native, native

TILE = 32  # tokens per tile of the transposed keys, as in kernels.c


class Cache:
    """Keys and values of ``slots`` sequences of up to ``capacity`` tokens (rounded up to a tile)."""

    def __init__(self, decoder: Decoder, slots: int, capacity: int, tiled: bool) -> None:
        spec = decoder.spec
        T = -(-capacity // TILE) * TILE
        L, G, D = spec.layers, spec.kv_heads, spec.head_dim
        self.tiled = tiled
        keys = (L, slots, G, T // TILE, D, TILE) if tiled else (L, slots, G, T, D)
        self.keys = torch.zeros(keys, dtype=decoder.dtype, device=decoder.device)
        self.values = torch.zeros((L, slots, G, T, D), dtype=decoder.dtype, device=decoder.device)

    def write(self, slot: int, keys: Tensor, values: Tensor) -> None:
        """Put a prompt's keys and values (L, P, G, D) at the beginning of a slot."""
        L, P, G, D = keys.shape
        self.values[:, slot, :, :P] = values.transpose(1, 2)
        if not self.tiled:
            self.keys[:, slot, :, :P] = keys.transpose(1, 2)
            return
        tiles = -(-P // TILE)
        padded = F.pad(keys.permute(0, 2, 3, 1), (0, tiles * TILE - P))  # (L, G, D, tiles * 32)
        self.keys[:, slot, :, :tiles] = padded.view(L, G, D, tiles, TILE).transpose(2, 3)

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]


@dataclass(frozen=True, slots=True, eq=False)
class StepWeights:
    """What one layer multiplies by; ``packed`` are the same matrices in oneDNN's blocked layout."""

    matrices: dict[str, Tensor]
    packed: dict[str, Tensor]
    biases: dict[str, Tensor]
    norms: dict[str, Tensor]

    def project(self, name: str, x: Tensor) -> Tensor:
        return _product(x, self.matrices[name], self.packed.get(name), self.biases.get(name))


class Stepper:
    """Runs decoding steps for a decoder and, where given, an adapter. Make a new one after an update."""

    def __init__(self, decoder: Decoder, adapter: Adapter | None = None) -> None:
        self.decoder = decoder
        on_cpu = decoder.device.type == "cpu" and decoder.dtype == torch.bfloat16
        self.native: Native | None = native() if on_cpu and decoder.spec.head_dim % TILE == 0 else None
        self._pack = on_cpu and torch.backends.mkldnn.is_available()
        self.layers = [self._layer_weights(i, adapter) for i in range(decoder.spec.layers)]
        self.head = decoder.head_weight().detach()
        self.packed_head = _packed(self.head) if self._pack else None

    def _layer_weights(self, index: int, adapter: Adapter | None) -> StepWeights:
        matrices, biases, norms = {}, {}, {}
        for name, weight in self.decoder.layers[index].weights.items():
            if name.endswith("_bias"):
                biases[name.removesuffix("_bias")] = weight.value
            elif name in ("norm1", "norm2", "q_norm", "k_norm"):
                norms[name] = weight.value
            else:
                adapted = adapter.get(index, name) if adapter is not None else None
                matrices[name] = weight.value if adapted is None else adapted.merged
        packed = {name: _packed(w) for name, w in matrices.items()} if self._pack else {}
        return StepWeights(matrices, packed, biases, norms)

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Logits (B, V) after ``tokens`` (B,) at ``positions`` (B,), appended to the first B slots."""
        decoder, B = self.decoder, len(tokens)
        x = F.embedding(tokens, decoder.embedding.value)
        rotary = decoder.rotary(positions)
        delta: Tensor | None = None
        span = int(positions.max()) + 1
        for index, weights in enumerate(self.layers):
            x, normal = self._add_norm(x, delta, weights.norms["norm1"])
            mixed = self._attend(weights, weights.project("qkv", normal), rotary, positions, span, cache, index, B)
            x, normal = self._add_norm(x, weights.project("out", mixed), weights.norms["norm2"])
            delta = weights.project("down", self._swiglu(weights.project("gate_up", normal)))
        _, final = self._add_norm(x, delta, decoder.norm.value)
        return self.logits(final)

    def logits(self, hidden: Tensor) -> Tensor:
        """(B, d) after the final norm -> (B, V)."""
        return _product(hidden, self.head, self.packed_head, None)

    def _add_norm(self, x: Tensor, delta: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
        """x + delta, and its norm."""
        if self.native is not None:
            out = torch.empty_like(x)
            self.native.add_norm(x, delta, weight, out, self.decoder.spec.norm_eps)  # adds into x in place
            return x, out
        x = x if delta is None else x + delta
        return x, rms_norm(x, weight, self.decoder.spec.norm_eps)

    def _swiglu(self, gate_up: Tensor) -> Tensor:
        if self.native is not None:
            out = gate_up.new_empty((len(gate_up), gate_up.shape[1] // 2))
            self.native.swiglu(gate_up, out)
            return out
        return swiglu(gate_up)

    def _attend(self, weights: StepWeights, qkv: Tensor, rotary: Rotary, positions: Tensor, span: int, cache: Cache, index: int, B: int) -> Tensor:
        """Rotates, appends to the cache, attends: qkv (B, (H + 2 G) D) -> (B, H D)."""
        spec, eps = self.decoder.spec, self.decoder.spec.norm_eps
        H, G, D = spec.heads, spec.kv_heads, spec.head_dim
        q_norm, k_norm = weights.norms.get("q_norm"), weights.norms.get("k_norm")
        if self.native is not None:
            out = qkv.new_empty((B, H * D))
            caches = cache.keys[index], cache.values[index]
            self.native.rotate_attend(qkv, rotary.cos, rotary.sin, q_norm, k_norm, eps, *caches, positions, out, H)
            return out
        q, k, v = qkv.view(B, -1, D).split([H, G, G], dim=1)
        if q_norm is not None and k_norm is not None:
            q, k = rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps)
        q, k = rotate(q, rotary), rotate(k, rotary)
        keys, values = cache.keys[index][:B], cache.values[index][:B]
        rows = torch.arange(B, device=q.device)
        keys[rows, :, positions] = k
        values[rows, :, positions] = v
        seen = torch.arange(span, device=q.device) <= positions[:, None]  # (B, span)
        grouped = q.reshape(B, G, H // G, D)  # heads that share keys become queries of one head
        mixed = F.scaled_dot_product_attention(grouped, keys[:, :, :span], values[:, :, :span], attn_mask=seen[:, None, None])
        return mixed.reshape(B, H * D)


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 128)


def _product(x: Tensor, weight: Tensor, packed: Tensor | None, bias: Tensor | None) -> Tensor:
    if packed is not None:
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return F.linear(x, weight, bias)
