"""A soup is the model whose weights are the weighted sum of the others', adapters included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.loading import LanguageModel, load
from custodes.lm.soup import soup
from custodes.types import InputError


def learned(model: Path, seed: int, rank: int = 2, alpha: float = 8.0, first_layer: int = 0) -> LanguageModel:
    """An adapter that has learned something."""
    lm = load(model, dtype="float32", adapter=AdapterConfig(rank, alpha, first_layer), seed=seed)
    assert lm.adapter is not None
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lm.adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 8)
    lm.refresh()
    return lm


def weights(lm: LanguageModel) -> dict[str, torch.Tensor]:
    assert lm.adapter is not None
    return {name: t.double() for name, t in merged(lm.decoder, lm.adapter).state().items()}


def same_as_the_mean(found: LanguageModel, models: list[LanguageModel], by: list[float]) -> None:
    states = [weights(lm) for lm in models]
    for name, tensor in weights(found).items():
        mean = sum(w * state[name] for w, state in zip(by, states, strict=True))
        torch.testing.assert_close(tensor, mean, atol=2e-6, rtol=1e-6)


def test_a_soup_of_adapters_is_the_mean_of_the_merged_weights_whatever_their_ranks_and_scales(tiny_model: Path) -> None:
    models = [learned(tiny_model, 1, 2, 8.0), learned(tiny_model, 2, 5, 3.0), learned(tiny_model, 3, 1, 1.0)]
    by = [0.5, 0.75, -0.25]
    mixed = soup(models, by)
    same_as_the_mean(mixed, models, by)
    assert mixed.adapter is not None
    assert mixed.adapter.config.rank == 8
    means = [
        0.5 * models[0].adapter.tensors()[n] + 0.5 * learned(tiny_model, 2).adapter.tensors()[n]
        for n in models[0].adapter.tensors()
    ]  # type: ignore[union-attr]
    apart = replace(models[0], adapter=Adapter(models[0].decoder, models[0].adapter.config))  # type: ignore[union-attr]
    apart.adapter.restore(dict(zip(models[0].adapter.tensors(), means, strict=True)), "x")  # type: ignore[union-attr]
    with pytest.raises(AssertionError):  # A and B mixed apart are another model
        same_as_the_mean(apart, [models[0], learned(tiny_model, 2)], [0.5, 0.5])


def test_a_layer_that_only_one_adapts_keeps_its_share(tiny_model: Path) -> None:
    models = [learned(tiny_model, 1, first_layer=1), learned(tiny_model, 2, first_layer=0)]
    mixed = soup(models, [0.25, 0.75])
    same_as_the_mean(mixed, models, [0.25, 0.75])
    assert mixed.adapter is not None
    assert mixed.adapter.config.first_layer == 0


def test_the_ends_of_a_row_are_the_policies_themselves(tiny_model: Path) -> None:
    first, second = learned(tiny_model, 1, 2), learned(tiny_model, 2, 3)
    for by, own in (([1.0, 0.0], first), ([0.0, 1.0], second)):
        mixed = soup([first, second], by)
        assert mixed.adapter is not None
        assert own.adapter is not None
        assert mixed.adapter.config.rank == own.adapter.config.rank
        same_as_the_mean(mixed, [own], [1.0])


def test_a_saved_soup_is_loaded_with_its_scale(tiny_model: Path, tmp_path: Path) -> None:
    models = [learned(tiny_model, 1, 2, 8.0), learned(tiny_model, 2, 5, 3.0)]
    mixed = soup(models, [0.4, 0.6])
    mixed.save(tmp_path / "soup")
    again = load(tmp_path / "soup", dtype="float32")
    assert again.fingerprint() == mixed.fingerprint()
    same_as_the_mean(again, models, [0.4, 0.6])


def whole(model: Path, seed: int) -> LanguageModel:
    lm = load(model, dtype="float32")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in lm.decoder.state().values():
            tensor.add_(torch.randn(tensor.shape, generator=draw) / 50)
    return lm


def test_a_soup_of_whole_models_is_the_sum_of_their_weights(tiny_model: Path) -> None:
    models = [whole(tiny_model, 1), whole(tiny_model, 2)]
    mixed = soup(models, [0.3, 0.7]).decoder.state()
    for name, tensor in mixed.items():
        exact = 0.3 * models[0].decoder.state()[name].double() + 0.7 * models[1].decoder.state()[name].double()
        assert torch.equal(tensor, exact.float()), name
    alone = soup(models, [0.0, 1.0])
    assert alone.fingerprint() == models[1].fingerprint()


def test_policies_that_do_not_belong_together_are_refused(tiny_model: Path) -> None:
    adapter, model = learned(tiny_model, 1), whole(tiny_model, 2)
    with pytest.raises(InputError, match="made of adapters or of whole models; merge the adapters first"):
        soup([adapter, model], [0.5, 0.5])
    assert adapter.adapter is not None
    other = replace(model, adapter=Adapter(model.decoder, adapter.adapter.config), name="another")
    with pytest.raises(
        InputError, match=r"different base models cannot be one: .* and another are not the same weights"
    ):
        soup([adapter, other], [0.5, 0.5])
