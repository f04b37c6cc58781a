"""One decoding step: a token in, logits out, over a static cache of keys and values.

A :class:`Cache` holds ``slots`` sequences; the first B of them are alive. Sequences that end are
replaced or the last alive one moves into their place, so a step never computes for the dead.

Letters: B sequences alive, L layers, G key-value heads, D head dimension, T capacity in tokens,
d hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.adapter import Adapter
from custodes.lm.decoder import Decoder
from custodes.lm.kernels import HEAD_MULTIPLE, Native, native
from custodes.lm.packing import pack
from custodes.lm.precision import onednn_packs
from custodes.lm.steps import Rotary, rms_norm, rotate, swiglu

TILE = 32  # tokens per tile of the transposed keys, as in kernels.c


@dataclass(eq=False)
class Prompt:
    """A computed prompt, waiting to be shared by its samples."""

    keys: Tensor  # (L, P, G, D)
    values: Tensor  # (L, P, G, D)
    logits: Tensor  # (V,) after its last token
    row: int = -1  # of the cache's prompts, while a sample is alive
    alive: int = 0

    @property
    def length(self) -> int:
        return self.keys.shape[1]


class Cache:
    """Keys and values of up to ``slots`` sequences: ``prompts`` tokens before and ``replies`` tokens after.

    With ``shared`` (the compiled step) a prompt is held once for all its samples, keys in transposed tiles;
    without, each slot holds its prompt and its reply in one piece, as torch's attention wants them.
    """

    def __init__(self, decoder: Decoder, slots: int, prompts: int, replies: int, shared: bool) -> None:
        L, G, D = decoder.spec.layers, decoder.spec.kv_heads, decoder.spec.head_dim
        P, T = (-(-n // TILE) * TILE for n in (prompts, replies if shared else prompts + replies))

        # the compiled step reads only what was written; torch's masks the rest, and 0 times nan is nan
        make = torch.empty if shared else torch.zeros

        def room(*shape: int) -> Tensor:
            return make(shape, dtype=decoder.dtype, device=decoder.device)

        self.shared = shared
        self.values = room(L, slots, G, T, D)
        self.keys = room(L, slots, G, T // TILE, D, TILE) if shared else room(L, slots, G, T, D)
        self.prompt_values = room(L, slots, G, P, D) if shared else room(0)
        self.prompt_keys = room(L, slots, G, P // TILE, D, TILE) if shared else room(0)
        self.of_slot: list[Prompt | None] = [None] * slots
        self._free = list(range(slots))

    def admit(self, slot: int, prompt: Prompt) -> None:
        """Begin a sequence with ``prompt`` in a free slot."""
        self.of_slot[slot] = prompt
        if not self.shared:
            self.values[:, slot, :, : prompt.length] = prompt.values.transpose(1, 2)
            self.keys[:, slot, :, : prompt.length] = prompt.keys.transpose(1, 2)
            return
        prompt.alive += 1
        if prompt.row >= 0:
            return
        prompt.row = self._free.pop()
        L, P, G, D = prompt.keys.shape
        tiles = -(-P // TILE)
        padded = F.pad(prompt.keys.permute(0, 2, 3, 1), (0, tiles * TILE - P))  # (L, G, D, tiles * 32)
        self.prompt_keys[:, prompt.row, :, :tiles] = padded.view(L, G, D, tiles, TILE).transpose(2, 3)
        self.prompt_values[:, prompt.row, :, :P] = prompt.values.transpose(1, 2)

    def release(self, slot: int, last: int) -> None:
        """End the sequence in ``slot``; the one in ``last``, the last alive, takes its place."""
        prompt = self.of_slot[slot]
        assert prompt is not None
        if self.shared:
            prompt.alive -= 1
            if prompt.alive == 0:
                self._free.append(prompt.row)
                prompt.row = -1
        self.of_slot[slot], self.of_slot[last] = self.of_slot[last], None
        if slot != last:
            self.keys[:, slot] = self.keys[:, last]
            self.values[:, slot] = self.values[:, last]

    def places(self, B: int) -> tuple[Tensor, Tensor]:
        """Row of the prompts, and length of the prompt, of the first B slots: (B,), (B,)."""
        prompts = [p for p in self.of_slot[:B] if p is not None]
        return torch.tensor([p.row for p in prompts]), torch.tensor([p.length for p in prompts])


@dataclass(frozen=True, slots=True, eq=False)
class StepWeights:
    """What one layer multiplies by; ``packed`` are the same matrices in oneDNN's blocked layout.

    Where an adapter acts, ``down`` holds its A, and the matrix its B beside the weight (:mod:`custodes.lm.adapter`).
    """

    matrices: dict[str, Tensor]
    down: dict[str, Tensor]
    packed: dict[str, Tensor]
    packed_down: dict[str, Tensor]
    biases: dict[str, Tensor]
    norms: dict[str, Tensor]

    def project(self, name: str, x: Tensor) -> Tensor:
        if name in self.down:
            x = torch.cat([x, _product(x, self.down[name], self.packed_down.get(name), None)], 1)
        return _product(x, self.matrices[name], self.packed.get(name), self.biases.get(name))


Attend = Callable[[int, StepWeights, Tensor, Rotary], Tensor]
"""(layer, its weights, qkv (N, (H + 2 G) D), rotary) -> (N, H D): rotates, keeps keys and values, attends."""


class Stepper:
    """Runs decoding steps for a decoder and, where given, an adapter. Make a new one after an update."""

    def __init__(self, decoder: Decoder, adapter: Adapter | None = None) -> None:
        self.decoder, self.adapter = decoder, adapter
        on_cpu = decoder.device.type == "cpu"
        self.native: Native | None = (
            native(decoder.dtype) if on_cpu and decoder.spec.head_dim % HEAD_MULTIPLE == 0 else None
        )
        self._pack = on_cpu and onednn_packs(decoder.dtype)
        self.layers = [self._layer_weights(i, adapter) for i in range(decoder.spec.layers)]
        self.head = decoder.head_weight().detach()
        self.packed_head = _packed(self.head) if self._pack else None

    def _layer_weights(self, index: int, adapter: Adapter | None) -> StepWeights:
        matrices, down, biases, norms = {}, {}, {}, {}
        for name, weight in self.decoder.layers[index].weights.items():  # type: ignore[operator,union-attr]
            if name.endswith("_bias"):
                biases[name.removesuffix("_bias")] = weight.value
            elif name in ("norm1", "norm2", "q_norm", "k_norm"):
                norms[name] = weight.value
            else:
                adapted = adapter.get(index, name) if adapter is not None else None
                matrices[name] = weight.value if adapted is None else adapted.joined
                if adapted is not None:
                    down[name] = adapted.down
        packed, packed_down = (
            {name: _packed(w) for name, w in of.items()} if self._pack else {} for of in (matrices, down)
        )
        return StepWeights(matrices, down, packed, packed_down, biases, norms)

    @torch.inference_mode()
    def prompts(self, prompts: Sequence[NDArray[np.int32]]) -> list[Prompt]:
        """Keys, values and next logits of each prompt, in one forward pass."""
        batch, kept = pack(prompts).to(self.decoder.device), list[tuple[Tensor, Tensor]]()
        hidden = self.decoder.hidden(batch, self.adapter, lambda _, k, v: kept.append((k, v)), batch.last)
        sizes = [len(p) for p in prompts]
        keys, values = (torch.stack(of_layers).split(sizes, 1) for of_layers in zip(*kept, strict=True))
        return [Prompt(k, v, row) for k, v, row in zip(keys, values, self.logits(hidden), strict=True)]

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Logits (B, V) after ``tokens`` (B,) at ``positions`` (B,), appended to the first B slots."""
        places = (*cache.places(len(tokens)), positions)

        def attend(index: int, weights: StepWeights, qkv: Tensor, rotary: Rotary) -> Tensor:
            return self._attend(weights, qkv, rotary, places, cache, index)

        return self.logits(self.hidden(tokens, positions, attend))

    @torch.inference_mode()
    def hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """(N, d) after the final norm, of ``tokens`` (N,) at ``positions`` (N,); ``attend`` keeps their keys and values."""
        decoder = self.decoder
        x = F.embedding(tokens, decoder.embedding.value)
        rotary = decoder.rotary(positions)
        delta: Tensor | None = None
        for index, weights in enumerate(self.layers):
            x, normal = self._add_norm(x, delta, weights.norms["norm1"])
            mixed = attend(index, weights, weights.project("qkv", normal), rotary)
            x, normal = self._add_norm(x, weights.project("out", mixed), weights.norms["norm2"])
            delta = weights.project("down", self._swiglu(weights.project("gate_up", normal)))
        _, final = self._add_norm(x, delta, decoder.norm.value)
        return final

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

    def _attend(
        self,
        weights: StepWeights,
        qkv: Tensor,
        rotary: Rotary,
        places: tuple[Tensor, Tensor, Tensor],
        cache: Cache,
        index: int,
    ) -> Tensor:
        """Rotates, appends to the cache, attends: qkv (B, (H + 2 G) D) -> (B, H D)."""
        spec, B = self.decoder.spec, len(qkv)
        H, G, D, eps = spec.heads, spec.kv_heads, spec.head_dim, spec.norm_eps
        norms = weights.norms.get("q_norm"), weights.norms.get("k_norm")
        if self.native is not None:
            out = qkv.new_empty((B, H * D))
            caches = cache.prompt_keys[index], cache.prompt_values[index], cache.keys[index], cache.values[index]
            self.native.rotate_attend(qkv, rotary.cos, rotary.sin, norms, eps, caches, places, out, H)
            return out
        q, k, v = qkv.view(B, -1, D).split([H, G, G], dim=1)
        if norms[0] is not None and norms[1] is not None:
            q, k = rms_norm(q, norms[0], eps), rms_norm(k, norms[1], eps)
        q, k = rotate(q, rotary), rotate(k, rotary)
        keys, values, positions = cache.keys[index][:B], cache.values[index][:B], places[2]
        rows = torch.arange(B, device=q.device)
        keys[rows, :, positions] = k
        values[rows, :, positions] = v
        span = int(positions.max()) + 1
        seen = torch.arange(span, device=q.device) <= positions[:, None]  # (B, span)
        grouped = q.reshape(B, G, H // G, D)  # heads that share keys become queries of one head
        mixed = F.scaled_dot_product_attention(
            grouped, keys[:, :, :span], values[:, :, :span], attn_mask=seen[:, None, None]
        )
        return mixed.reshape(B, H * D)


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 128)


def _product(x: Tensor, weight: Tensor, packed: Tensor | None, bias: Tensor | None) -> Tensor:
    if packed is not None:
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return F.linear(x, weight, bias)
