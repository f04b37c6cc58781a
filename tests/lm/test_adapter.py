from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import KINDS, reference_logits, sequences, write_model
from transformers import AutoModelForCausalLM

from custodes.lm.adapter import AdaptedProjection, Adapter, AdapterConfig, merged
from custodes.lm.decode import Stepper
from custodes.lm.loading import LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack
from custodes.types import InputError

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CONFIG = AdapterConfig(rank=3, alpha=5.0)


@pytest.fixture(scope="module", params=["llama", "qwen2"])  # without and with biases
def folder(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    architecture, changes = KINDS[request.param]
    write_model(folder, tiny_model, architecture, **changes)
    return folder


def trained(folder: Path, config: AdapterConfig = CONFIG) -> LanguageModel:
    """A model whose adapter says something: B is drawn, not 0."""
    lm = load(folder, adapter=config, dtype="float32")
    generator = torch.Generator().manual_seed(1)
    for name, parameter in lm.adapter.named_parameters():  # type: ignore[union-attr]
        if ".b." in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    lm.refresh()
    return lm


def logits(lm: LanguageModel, ids: object) -> torch.Tensor:
    return lm.decoder.hidden(pack([ids]), lm.adapter) @ lm.decoder.head_weight().T  # type: ignore[list-item]


def in_peft(folder: Path, lm: LanguageModel, layers: list[int] | None = None) -> PeftModel:
    """The same adapter made by peft itself."""
    config = LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS, layers_to_transform=layers, lora_dropout=0.0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config)
    with torch.no_grad():
        mine = lm.adapter.tensors()  # type: ignore[union-attr]
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(mine[name.removeprefix("base_model.model.").replace(".default", "")])
    return model


def test_a_new_adapter_changes_nothing(folder: Path):
    ids = sequences(20)[0]
    with torch.no_grad():
        assert torch.equal(
            logits(load(folder, adapter=CONFIG, dtype="float32"), ids), logits(load(folder, dtype="float32"), ids)
        )


@pytest.mark.parametrize("first_layer", [0, 1])
def test_gradients_equal_those_of_peft(folder: Path, first_layer: int):
    lm = trained(folder, AdapterConfig(rank=3, alpha=5.0, first_layer=first_layer))
    peft = in_peft(folder, lm, list(range(first_layer, 2)))
    ids = sequences(40)[0]
    targets = torch.from_numpy(ids[1:]).long()
    hidden = lm.decoder.hidden(pack([ids]), lm.adapter)
    logp, _ = token_logprobs(hidden[:-1], lm.decoder.head_weight(), targets)
    logp.square().sum().backward()
    expected = reference_logits(peft, ids)[:-1].log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    expected.square().sum().backward()
    torch.testing.assert_close(logp, expected, atol=3e-5, rtol=1e-5)
    theirs = {n: p.grad for n, p in peft.named_parameters() if p.requires_grad}
    for parameter in lm.trainable():
        parameter.data = parameter.grad  # so that tensors() gives every gradient its name  # type: ignore[assignment]
    ours = lm.adapter.tensors()  # type: ignore[union-attr]
    assert len(ours) == len(theirs) == 2 * 7 * (2 - first_layer)
    for name, grad in theirs.items():
        mine = ours[name.removeprefix("base_model.model.").replace(".default", "")]
        torch.testing.assert_close(mine, grad, atol=1e-4 * float(grad.abs().max()), rtol=1e-3)


def test_only_the_adapter_learns(folder: Path):
    lm = trained(folder)
    before = lm.decoder.state()
    logits(lm, sequences(9)[0]).sum().backward()
    assert not list(lm.decoder.parameters())
    assert all(p.grad is not None for p in lm.trainable())
    assert all(torch.equal(t, before[n]) for n, t in lm.decoder.state().items())


@pytest.mark.parametrize("first_layer", [0, 1])
def test_a_saved_adapter_loads_in_peft_and_again_here(folder: Path, tmp_path: Path, first_layer: int):
    lm = trained(folder, AdapterConfig(rank=3, alpha=5.0, first_layer=first_layer))
    lm.save(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = sequences(25)[0]
    with torch.no_grad():
        ours = logits(lm, ids)
        theirs = reference_logits(PeftModel.from_pretrained(base, tmp_path), ids)
        again = load(folder, adapter=tmp_path, dtype="float32")
        torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=1e-5)
        assert torch.equal(logits(again, ids), ours)
    assert again.fingerprint() == lm.fingerprint()


def test_an_adapter_that_peft_saved_acts_here(folder: Path, tmp_path: Path):
    """Fewer projections than ours, as people train them."""
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config)
    peft.save_pretrained(tmp_path)
    ids = sequences(25)[0]
    with torch.no_grad():
        ours = logits(load(folder, adapter=tmp_path, dtype="float32"), ids)
        torch.testing.assert_close(ours, reference_logits(peft, ids), atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize(("rank", "first_layer"), [(0, 0), (4, 2)])
def test_impossible_adapters_are_refused(folder: Path, rank: int, first_layer: int):
    with pytest.raises(InputError, match=r"option (rank|first_layer) is .*; it must be"):
        load(folder, adapter=AdapterConfig(rank=rank, first_layer=first_layer))


def test_what_is_wrong_with_an_adapter_folder_is_said(folder: Path, tmp_path: Path):
    lm = trained(folder)

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match):
            Adapter.load(tmp_path, lm.decoder)

    refused("no adapter_config.json")
    lm.save(tmp_path)
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    good, stored = load_file(weights), json.loads(config.read_text())

    config.write_text(json.dumps(stored | {"use_rslora": True}))
    refused("use_rslora")
    config.write_text(json.dumps(stored | {"r": 4}))
    refused("has shape")
    for wrong in ({"r": "two"}, {"lora_alpha": None}):
        config.write_text(json.dumps(stored | wrong))
        refused("both must be numbers")
    config.write_text("[1]")
    refused("cannot be read")
    config.write_text(json.dumps(stored))
    save_file({name.replace("layers.1", "layers.7"): t for name, t in good.items()}, weights)
    refused("does not have")
    save_file({"base_model.model.lm_head.lora_A.weight": torch.zeros(3, 32)}, weights)
    refused("adapts no layer")
    weights.write_bytes(b"not safetensors")
    refused("cannot be read")
    weights.unlink()
    refused("no adapter_model.safetensors")


def test_an_update_too_small_for_a_bfloat16_weight_still_acts():
    """Every entry of s B A is below half a step of the weight beside it: added to W, it would be gone."""
    generator = torch.Generator().manual_seed(0)
    base = torch.empty(256, 64).uniform_(0.5, 1.0, generator=generator).bfloat16()
    projection = AdaptedProjection(base, [slice(0, 64), slice(64, 256)], AdapterConfig(rank=4, alpha=8.0), generator)
    for b in projection.b:
        b.data.normal_(0, 1e-3, generator=generator)
    projection.refresh()
    assert torch.equal(projection.merged(base), base)
    x = torch.randn(512, 64, generator=generator).bfloat16()
    with torch.no_grad():
        seen = (projection(x, None).float() - torch.nn.functional.linear(x, base).float()).flatten()
        exact = projection.merged(base.float()) - base.float()
    true = (x.float() @ exact.T).flatten()
    assert float(seen @ true / (true @ true)) == pytest.approx(1, abs=0.1)  # rounding of outputs averages out


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_samples_what_is_measured_and_what_is_saved_are_one_policy(folder: Path, tmp_path: Path, dtype: str):
    lm = load(folder, adapter=CONFIG, dtype=dtype)  # type: ignore[arg-type]
    for name, parameter in lm.adapter.named_parameters():  # type: ignore[union-attr]
        if ".b." in name:
            parameter.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(2))
    lm.refresh()
    for i, weights in enumerate(Stepper(lm.decoder, lm.adapter).layers):
        for name, matrix in weights.matrices.items():
            projection = lm.adapter.get(i, name)  # type: ignore[union-attr]
            assert matrix is projection.joined
            assert weights.down[name] is projection.down
    lm.save(tmp_path)
    ids = sequences(40)[0]
    with torch.no_grad():
        ours = logits(lm, ids)
        assert torch.equal(logits(load(folder, adapter=tmp_path, dtype=dtype), ids), ours)  # type: ignore[arg-type]
        theirs = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)), tmp_path
        )
        step = torch.finfo(ours.dtype).eps * float(ours.abs().max())
        assert float((ours - reference_logits(theirs, ids)).float().abs().mean()) < 4 * step


def test_a_merged_decoder_is_the_adapters_policy_in_float32(folder: Path):
    lm = trained(folder, AdapterConfig(rank=3, alpha=5.0, first_layer=1))
    whole = merged(lm.decoder, lm.adapter)  # type: ignore[arg-type]
    ids = sequences(25)[0]
    with torch.no_grad():
        alone = whole.hidden(pack([ids])) @ whole.head_weight().T
        torch.testing.assert_close(alone, logits(lm, ids), atol=3e-5, rtol=1e-5)
    assert whole.layers[0] is lm.decoder.layers[0]
