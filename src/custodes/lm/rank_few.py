"""One projection of one layer, looked into and changed by few ranks: what an edit of a fact needs.

The projection is the feed-forward part's second one, "down": its input is a *key*, its output a *value* (arXiv 2202.05262).

Letters: N tokens of a packed batch, M of them wanted, m intermediate size, d hidden size, n ranks that are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from custodes.lm.adapter import AdaptedProjection, Adapter, AdapterConfig
from custodes.lm.decoder import Adaptation, part_rows
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch

Project = Callable[[Tensor, "Tensor | None"], Tensor]
"""From inputs (N, in) and a bias to outputs (N, out)."""


class Overlaid:
    """An adaptation that has ``project`` in place of one layer's "down", and is ``inner`` elsewhere."""

    def __init__(self, inner: Adaptation | None, layer: int, project: Project) -> None:
        self.inner, self.layer, self.project = inner, layer, project

    def get(self, layer: int, projection: str) -> Project | None:
        if (layer, projection) == (self.layer, "down"):
            return self.project
        return self.inner.get(layer, projection) if self.inner is not None else None


def down_projection(lm: LanguageModel, layer: int) -> Project:
    """The projection as it is, adapter included."""
    adapted = lm.adapter.get(layer, "down") if lm.adapter is not None else None
    if adapted is not None:
        return adapted
    weight: Any = lm.decoder.layers[layer].weights["down"]  # type: ignore[index,union-attr]
    return lambda x, bias: F.linear(x, weight.value, bias)


@torch.no_grad()
def down_keys(lm: LanguageModel, batch: PackedBatch, layer: int, wanted: Tensor | None = None) -> Tensor:
    """(M, m) float32 inputs of a layer's "down" at the ``wanted`` tokens, or at all."""
    project, kept = down_projection(lm, layer), list[Tensor]()

    def keep(x: Tensor, bias: Tensor | None) -> Tensor:
        kept.append(x if wanted is None else x.index_select(0, wanted))
        return project(x, bias)

    lm.decoder.run(lm.decoder.embed(batch), batch, 0, layer + 1, Overlaid(lm.adapter, layer, keep))
    return kept[0].float()


def edited(lm: LanguageModel, layer: int, down: Tensor, up: Tensor) -> LanguageModel:
    """The model whose layer has "down" with ``up @ down`` added, (d, n) and (n, m); everything else is shared, not copied.

    It computes exactly as the adapter of :func:`edited_adapter` does, which is slower to make.
    """
    before = lm.adapter.get(layer, "down") if lm.adapter is not None else None
    a, b = [down], [up]
    if before is not None:
        a, b = [before.a[0].detach(), down], [before.b[0].detach() * before.scale, up]
    rank = sum(len(part) for part in a)
    base: Tensor = lm.decoder.layers[layer].weights["down"].value  # type: ignore[index,union-attr,assignment]
    config, generator = AdapterConfig(rank, float(rank)), torch.Generator()
    changed = AdaptedProjection(base, part_rows(lm.decoder.spec, "down"), config, generator)
    with torch.no_grad():
        changed.a[0].copy_(torch.cat(a))
        changed.b[0].copy_(torch.cat(b, 1))
    changed.refresh()
    over: Any = Overlaid(lm.adapter, layer, changed.requires_grad_(False))
    return replace(lm, adapter=over)


def edited_adapter(lm: LanguageModel, layer: int, down: Tensor, up: Tensor) -> Adapter:
    """The same change as an adapter that can be saved: the one that the model has, with n more ranks.

    Parts that nothing was learned for are without effect.
    """
    known = lm.adapter
    rank, scale = (known.config.rank, known.config.alpha / known.config.rank) if known is not None else (0, 1.0)
    first = layer if known is None else min(layer, known.first_layer)
    more = rank + len(down)
    adapter = Adapter(lm.decoder, AdapterConfig(more, scale * more, first))
    tensors = {}
    for name, tensor in known.tensors().items() if known is not None else ():
        widened = tensor.new_zeros((more, tensor.shape[1]) if ".lora_A." in name else (len(tensor), more))
        widened[: len(tensor), : tensor.shape[1]] = tensor
        tensors[name] = widened
    part = f"model.layers.{layer}.mlp.down_proj.lora_"
    a = tensors.setdefault(f"{part}A.weight", down.new_zeros(more, down.shape[1]))
    b = tensors.setdefault(f"{part}B.weight", up.new_zeros(len(up), more))
    a[rank:], b[:, rank:] = down, up / scale
    adapter.restore(tensors, "the edited adapter")
    return adapter
