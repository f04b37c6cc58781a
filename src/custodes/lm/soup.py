"""Soups: several policies as one, theta = sum_i w_i theta_i (rewarded soups, arXiv 2306.04488, section 2).

Letters: r rank of an adapter, s its scale alpha / r, B and A its factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.decoder import Decoder
from custodes.lm.loading import LanguageModel
from custodes.types import InputError


def soup(models: Sequence[LanguageModel], weights: Sequence[float]) -> LanguageModel:
    """One model from several: of adapters on one base an adapter, of whole models a whole model.

    Of adapters the updates are mixed, sum_i w_i s_i B_i A_i: ranks are concatenated and scales folded in. A mean of the A and
    of the B would add products that nobody learned. Raises InputError where the models do not belong together.
    """
    first = models[0]
    if len({lm.adapter is None for lm in models}) > 1:
        raise InputError(
            "a soup is made of adapters or of whole models; merge the adapters first (policy export --merge)."
        )
    if first.adapter is not None:
        bases = {replace(lm, adapter=None).fingerprint(): lm.name for lm in models}
        if len(bases) > 1:
            raise InputError(
                f"adapters of different base models cannot be one: {' and '.join(bases.values())} are not the same weights."
            )
        return replace(first, adapter=_mixed(first.decoder, [lm.adapter for lm in models if lm.adapter], weights))
    if not isinstance(first.decoder, Decoder):
        raise InputError(f"{first.name} runs through transformers, and a soup of such models cannot be made here.")
    states = [lm.decoder.state() for lm in models]
    for lm, state in zip(models[1:], states[1:], strict=True):
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in states[0].items()}:
            raise InputError(f"{lm.folder} has other tensors than {first.folder}; a soup needs models of one shape.")
    summed = {name: _sum([state[name] for state in states], weights) for name in states[0]}
    return replace(first, decoder=Decoder(first.decoder.spec, summed, first.decoder.dtype))


def _sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Summed in float64, rounded once."""
    total = sum(weight * tensor.detach().double() for weight, tensor in zip(weights, tensors, strict=True))
    assert isinstance(total, Tensor)
    return total.to(tensors[0].dtype)


def _mixed(decoder: Decoder, adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    used = [(adapter, weight) for adapter, weight in zip(adapters, weights, strict=True) if weight]
    rank = sum(adapter.config.rank for adapter, _ in used)
    lowest = min(adapter.first_layer for adapter, _ in used)
    mixed = Adapter(decoder, AdapterConfig(rank, float(rank), lowest))  # a scale of 1: the others' are in B
    tables = [adapter.tensors() for adapter, _ in used]
    tensors = {}
    for name, own in mixed.tensors().items():
        pieces = []
        for (adapter, weight), table in zip(used, tables, strict=True):
            of_b = "lora_B" in name
            shape = (len(own), adapter.config.rank) if of_b else (adapter.config.rank, own.shape[1])
            piece = table.get(name, torch.zeros(shape, device=own.device))  # a layer that this one leaves as it is
            pieces.append(piece * (weight * adapter.config.alpha / adapter.config.rank) if of_b else piece)
        tensors[name] = torch.cat(pieces, 1 if of_b else 0)
    mixed.restore(tensors, "the soup")
    return mixed
