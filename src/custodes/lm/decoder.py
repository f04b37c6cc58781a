"""The transformer that sampler and learner share: Llama, SmolLM, Mistral, Qwen2, Qwen3.

Weights are stored fused (one product for q, k and v; one for gate and up) and come straight from a
checkpoint's safetensors; nothing of ``transformers`` runs here. Training keeps float32 masters of
whatever is trained (the whole model, or an :class:`~custodes.lm.adapter.Adapter`) and computes in
the model's own precision; :meth:`Decoder.refresh` copies the masters over after each update.

Letters: N unique tokens of a packed batch, R rows, T tokens of the longest, d hidden size,
H heads, G key-value heads, D head dimension, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.lm.attention import attend
from custodes.lm.file_pages import MappedState
from custodes.lm.packing import PackedBatch
from custodes.lm.steps import Rotary, rms_norm, rotate, swiglu

KvSink = Callable[[int, Tensor, Tensor], None]
"""Called with (layer, keys (N, G, D), values (N, G, D)) during a forward pass: fills a sampler's cache."""


class Adaptation(Protocol):
    """What is laid over some projections of a decoder; :class:`~custodes.lm.adapter.Adapter` is one."""

    def get(self, layer: int, projection: str) -> Callable[[Tensor, Tensor | None], Tensor] | None:
        """From inputs (N, in) and a bias to (N, out) in place of the projection; None where that stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """The shape of a Llama-like model."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int  # tokens; the sliding window where the model has one
    norm_eps: float
    tied: bool
    qk_norm: bool
    inv_freq: tuple[float, ...]  # (D / 2,) radians per position
    rope_scale: float  # factor on cos and sin, 1 except for some long-context models


def decoder_spec(config: Any) -> DecoderSpec | None:
    """The spec of a ``transformers`` configuration; None where the fast path does not know the architecture."""
    if config.model_type not in ("llama", "mistral", "qwen2", "qwen3") or config.hidden_act not in ("silu", "swish"):
        return None
    rope = _rope(config)
    if rope is None or getattr(config, "mlp_bias", False):
        return None
    context = config.max_position_embeddings
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True):
        context = min(context, window)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return DecoderSpec(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        vocab=config.vocab_size,
        context=context,
        norm_eps=config.rms_norm_eps,
        tied=bool(config.tie_word_embeddings),
        qk_norm=config.model_type == "qwen3",
        inv_freq=rope[0],
        rope_scale=rope[1],
    )


def _rope(config: Any) -> tuple[tuple[float, ...], float] | None:
    parameters = config.rope_parameters
    kind = parameters.get("rope_type", "default")
    if kind == "default":
        D = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        exponents = torch.arange(0, D, 2, dtype=torch.float32) / D
        return tuple((1.0 / parameters["rope_theta"] ** exponents).tolist()), 1.0
    if kind in ("linear", "llama3", "yarn"):  # those whose frequencies do not depend on the length at hand
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        inv_freq, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
        return tuple(inv_freq.float().tolist()), float(scale)
    return None


class Weight(nn.Module):
    """A tensor to compute with and, while it is trained, its float32 master."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value: Tensor
        self.register_buffer("value", value, persistent=False)
        self.master: nn.Parameter | None = None

    def forward(self) -> Tensor:
        return self.value if self.master is None else _FromMaster.apply(self.master, self.value)

    def train_master(self) -> None:
        if self.master is None:
            self.master = nn.Parameter(self.value.detach().float().clone())

    @torch.no_grad()
    def refresh(self) -> None:
        if self.master is not None:
            self.value.copy_(self.master)


class _FromMaster(torch.autograd.Function):
    @staticmethod
    def forward(ctx, master: Tensor, value: Tensor) -> Tensor:
        return value.detach()

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].float(), None


PROJECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "qkv": (("q", "self_attn.q_proj"), ("k", "self_attn.k_proj"), ("v", "self_attn.v_proj")),
    "out": (("o", "self_attn.o_proj"),),
    "gate_up": (("gate", "mlp.gate_proj"), ("up", "mlp.up_proj")),
    "down": (("down", "mlp.down_proj"),),
}
"""Fused projection -> its parts in order: (short name, name in a Hugging Face checkpoint)."""


def part_rows(spec: DecoderSpec, projection: str) -> list[slice]:
    """Rows of a fused projection's weight that belong to each of its parts."""
    q, kv = spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
    sizes = {"qkv": (q, kv, kv), "out": (spec.hidden,), "gate_up": (spec.intermediate,) * 2, "down": (spec.hidden,)}
    starts = [sum(sizes[projection][:i]) for i in range(len(sizes[projection]))]
    return [slice(start, start + size) for start, size in zip(starts, sizes[projection], strict=True)]


class Layer(nn.Module):
    """One block. Fused projections by name, their biases where the architecture has them, norms."""

    def __init__(self, tensors: dict[str, Tensor], spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weights = nn.ModuleDict({name: Weight(value) for name, value in tensors.items()})

    def forward(
        self,
        x: Tensor,
        batch: PackedBatch,
        rotary: Rotary,
        index: int,
        adapter: Adaptation | None,
        sink: KvSink | None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        spec, N = self.spec, len(x)

        def project(name: str, inputs: Tensor) -> Tensor:
            adapted = adapter.get(index, name) if adapter is not None else None
            bias = self.weights[name + "_bias"]() if name + "_bias" in self.weights else None
            if adapted is not None:
                return adapted(inputs, bias)
            return F.linear(inputs, self.weights[name](), bias)

        def norm(name: str, inputs: Tensor) -> Tensor:
            return rms_norm(inputs, self.weights[name](), spec.norm_eps)

        qkv = project("qkv", norm("norm1", x)).view(N, -1, spec.head_dim)
        q, k, v = qkv.split([spec.heads, spec.kv_heads, spec.kv_heads], dim=1)
        if spec.qk_norm:
            q, k = norm("q_norm", q), norm("k_norm", k)
        q, k = rotate(q, rotary), rotate(k, rotary)
        if sink is not None:
            sink(index, k, v)
        attended = attend(q, k, v, batch).flatten(1)
        if wanted is not None:  # every token is attended to, and only these go on
            x, attended = x.index_select(0, wanted), attended.index_select(0, wanted)
        x = self.add(x, project("out", attended))
        gate_up = project("gate_up", norm("norm2", x))
        return self.add(x, project("down", swiglu(gate_up)))

    def add(self, x: Tensor, update: Tensor) -> Tensor:
        """(N, d) what of the residual stream goes on once attention, or the feed-forward part, has written into it."""
        return x + update


class Decoder(nn.Module):
    """A Llama-like model over packed batches. See the module's docstring."""

    def __init__(self, spec: DecoderSpec, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """``state`` holds Hugging Face names; raises ``KeyError`` naming a tensor that is missing, ``ValueError``
        naming one that has another shape than the spec's."""
        super().__init__()
        self.spec = spec

        def take(name: str, *shape: int) -> Tensor:
            if state[name].shape != shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)} instead of {shape}")
            taken.append(state[name])
            return state[name].to(dtype)

        taken: list[Tensor] = []
        self.embedding = Weight(take("model.embed_tokens.weight", spec.vocab, spec.hidden))
        self.head = None if spec.tied else Weight(take("lm_head.weight", spec.vocab, spec.hidden))
        self.norm = Weight(take("model.norm.weight", spec.hidden))
        self.layers = nn.ModuleList()
        for i in range(spec.layers):
            self.layers.append(Layer(_layer_tensors(take, state, spec, i), spec))
            if isinstance(state, MappedState):
                state.forget(taken)
            taken.clear()

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.value.dtype

    @property
    def device(self) -> torch.device:
        return self.embedding.value.device

    def hidden(
        self,
        batch: PackedBatch,
        adapter: Adaptation | None = None,
        sink: KvSink | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """(N, d) after the final norm: what the head, a value head or a reward head reads; (M, d) of the M ``wanted``."""
        x = self.run(self.embed(batch), batch, 0, self.spec.layers, adapter, sink, wanted)
        return self.final(x)

    def embed(self, batch: PackedBatch) -> Tensor:
        """(N, d) before the first layer."""
        return F.embedding(batch.ids, self.embedding())

    def run(
        self,
        x: Tensor,
        batch: PackedBatch,
        first: int,
        end: int,
        adapter: Adaptation | None = None,
        sink: KvSink | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Layers ``first`` to ``end`` (exclusive): (N, d) -> (N, d). A shared trunk is run once this way.

        With ``wanted``, (M,) places among the N tokens: (M, d), for which the last layer does most of its work on these alone.
        """
        if first == end:
            return x if wanted is None else x.index_select(0, wanted)
        rotary = self.rotary(batch.positions)
        for index in range(first, end):
            x = self.layers[index](x, batch, rotary, index, adapter, sink, wanted if index == end - 1 else None)
        return x

    def final(self, x: Tensor) -> Tensor:
        """The final norm."""
        return rms_norm(x, self.norm(), self.spec.norm_eps)

    def head_weight(self) -> Tensor:
        """(V, d): rows are the output directions of tokens."""
        return self.embedding() if self.head is None else self.head()

    def rotary(self, positions: Tensor) -> Rotary:
        """cos and sin (N, 1, D) of the rotary embedding."""
        inv_freq = torch.tensor(self.spec.inv_freq, device=positions.device)
        angles = positions[:, None].float() * inv_freq
        angles = torch.cat([angles, angles], -1)[:, None]
        scale = self.spec.rope_scale
        return Rotary((angles.cos() * scale).to(self.dtype), (angles.sin() * scale).to(self.dtype))

    def train_all(self) -> list[nn.Parameter]:
        """Give every weight a float32 master; returns the masters, for an optimiser."""
        for weight in self._weights():
            weight.train_master()
        return list(self.parameters())

    def refresh(self) -> None:
        """Copy masters over the weights that compute. Call after each update."""
        for weight in self._weights():
            weight.refresh()

    def state(self) -> dict[str, Tensor]:
        """Hugging Face names and tensors, for saving."""
        out = {"model.embed_tokens.weight": self.embedding.value, "model.norm.weight": self.norm.value}
        if self.head is not None:
            out["lm_head.weight"] = self.head.value
        for i, layer in enumerate(self.layers):
            prefix = f"model.layers.{i}."
            for name, weight in layer.weights.items():  # type: ignore[operator,union-attr]
                projection = name.removesuffix("_bias")
                if projection in PROJECTIONS:
                    kind = "bias" if name.endswith("_bias") else "weight"
                    for (_, part), rows in zip(PROJECTIONS[projection], part_rows(self.spec, projection), strict=True):
                        out[f"{prefix}{part}.{kind}"] = weight.value[rows]
                else:
                    out[f"{prefix}{NORMS[name]}.weight"] = weight.value
        return {name: value.detach().contiguous() for name, value in out.items()}

    def _weights(self) -> list[Weight]:
        return [m for m in self.modules() if isinstance(m, Weight)]


def lower(decoder: Decoder, layers: int) -> Decoder:
    """The decoder without what lies above its first ``layers`` layers; the weights are the same, not copies."""
    return with_layers(decoder, list(decoder.layers)[:layers])


def with_layers(decoder: Decoder, layers: list[nn.Module]) -> Decoder:
    """The decoder with other layers; everything else is the same, not a copy."""
    changed = copy.copy(decoder)
    changed._modules = {**decoder._modules, "layers": nn.ModuleList(layers)}
    changed.spec = replace(decoder.spec, layers=len(layers))
    return changed


NORMS = {
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
}


def _layer_tensors(
    take: Callable[..., Tensor], state: Mapping[str, Tensor], spec: DecoderSpec, index: int
) -> dict[str, Tensor]:
    prefix = f"model.layers.{index}."
    inputs = {"out": spec.heads * spec.head_dim, "down": spec.intermediate}
    tensors: dict[str, Tensor] = {}
    for name, parts in PROJECTIONS.items():
        sizes = [(part, rows.stop - rows.start) for (_, part), rows in zip(parts, part_rows(spec, name), strict=True)]
        columns = inputs.get(name, spec.hidden)
        tensors[name] = torch.cat([take(f"{prefix}{part}.weight", rows, columns) for part, rows in sizes])
        if f"{prefix}{parts[0][1]}.bias" in state:
            tensors[name + "_bias"] = torch.cat([take(f"{prefix}{part}.bias", rows) for part, rows in sizes])
    for name, norm in NORMS.items():
        if name in ("norm1", "norm2"):
            tensors[name] = take(f"{prefix}{norm}.weight", spec.hidden)
        elif spec.qk_norm:
            tensors[name] = take(f"{prefix}{norm}.weight", spec.head_dim)
    return tensors
