"""The residual stream of a decoder: read after every layer, moved along a vector, or kept free of a direction.

A decoder that is changed so shares all its weights with the one it was made of. Engines and rewards compute with it as
with any other.

Letters: L layers, N tokens of a packed batch, M of them wanted, d hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from custodes.lm.decoder import Adaptation, Decoder, Layer, with_layers
from custodes.lm.packing import PackedBatch
from custodes.types import InputError


def open_layers(decoder: Any, name: str) -> Decoder:
    """The decoder, where its layers can be reached one by one. Raises InputError where only ``transformers`` can run it."""
    if not isinstance(decoder, Decoder):
        raise InputError(
            f"the inside of {name} cannot be read, since transformers runs it as a whole; use a Llama, Mistral, Qwen2 or Qwen3 model."
        )
    return decoder


def layer_in(decoder: Decoder, layer: int, option: str = "--layer") -> int:
    """The layer, counted from 0. Raises InputError for one that the model does not have."""
    if not 0 <= layer < decoder.spec.layers:
        raise InputError(
            f"{option} {layer} is not there: the model has {decoder.spec.layers} layers, 0 to {decoder.spec.layers - 1}."
        )
    return layer


@torch.no_grad()
def layer_states(
    decoder: Decoder, batch: PackedBatch, adapter: Adaptation | None = None, wanted: Tensor | None = None
) -> Tensor:
    """(L, M, d) float32: the residual stream after each layer, at the ``wanted`` tokens or at the last of each sequence."""
    at = batch.last if wanted is None else wanted
    x, states = decoder.embed(batch), []
    for layer in range(decoder.spec.layers):
        x = decoder.run(x, batch, layer, layer + 1, adapter)
        states.append(x.index_select(0, at).float())
    return torch.stack(states)


def steered(decoder: Decoder, layer: int, vector: Tensor) -> Decoder:
    """A decoder that adds ``vector`` (d,) to the residual stream of every token after ``layer``."""
    layers: list[Any] = list(decoder.layers)
    layers[layer] = _Steered(layers[layer], vector.to(decoder.device, decoder.dtype))
    return with_layers(decoder, layers)


def ablated(decoder: Decoder, direction: Tensor) -> Decoder:
    """A decoder whose residual stream has no part along ``direction`` (d,), of every token and from the embedding on.

    Whatever is written into the stream is projected (arXiv 2406.11717, section 2.4): x - r (r . x) for the unit vector r.
    """
    r = direction.to(decoder.device, torch.float32)
    return with_layers(decoder, [_Ablated(layer, r / r.norm()) for layer in decoder.layers])  # type: ignore[arg-type]


class _Steered(Layer):
    def __init__(self, layer: Layer, vector: Tensor) -> None:
        super().__init__(_tensors(layer), layer.spec)
        self.vector: Tensor
        self.register_buffer("vector", vector, persistent=False)

    def forward(self, *given: Any) -> Tensor:
        return super().forward(*given) + self.vector


class _Ablated(Layer):
    def __init__(self, layer: Layer, unit: Tensor) -> None:
        super().__init__(_tensors(layer), layer.spec)
        self.unit: Tensor
        self.register_buffer("unit", unit, persistent=False)

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        return super().forward(self._without(x), *given)  # the first layer's input is the embedding

    def add(self, x: Tensor, update: Tensor) -> Tensor:
        return self._without(super().add(x, update))

    def _without(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide - (wide @ self.unit)[:, None] * self.unit).to(x.dtype)


def _tensors(layer: Layer) -> dict[str, Tensor]:
    return {name: weight.value for name, weight in layer.weights.items()}  # type: ignore[misc]
