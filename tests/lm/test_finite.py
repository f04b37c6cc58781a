"""Values that are no numbers are traced to where they come from, before anything is made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import write_model

from custodes.lm.adapter import AdapterConfig
from custodes.lm.branches import Branches
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.requests import make_request
from custodes.reward.model import RewardModel
from custodes.types import InputError, Message, Sampling, Task

TASK = Task("t", (Message("user", "Who watches?"),))


@pytest.fixture
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_file_with_such_a_value_is_named(tiny_model: Path, tmp_path: Path, value: float) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"model\.safetensors: tensor model\.layers\.1\.mlp\.up_proj\.weight holds"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_great_weights_are_numbers(tiny_model: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors["model.norm.weight"][:] = 60_000.0
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    load(folder)


@pytest.mark.filterwarnings("ignore:architecture 'gpt2' runs")
def test_other_architectures_are_looked_through_too(tiny_model: Path, tmp_path: Path) -> None:
    write_model(tmp_path, tiny_model, "GPT2")
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("mlp.c_fc.weight"))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"mlp\.c_fc\.weight holds values that are not finite"):
        load(tmp_path)


def sample(lm: LanguageModel, temperature: float) -> None:
    TorchEngine(lm).generate([TASK], Sampling(max_tokens=3, temperature=temperature))


def stream(lm: LanguageModel, temperature: float) -> None:
    replies = TorchEngine(lm).stream(Sampling(max_tokens=3, temperature=temperature))
    replies.ask(make_request(lm.encode(TASK.messages), 0))
    while replies.busy:
        replies.advance()


def branch(lm: LanguageModel, temperature: float) -> None:
    tree = Branches(lm, TASK, width=2, max_tokens=8)
    tree.grow([(tree.root, "")], Sampling(max_tokens=3, temperature=temperature))


@pytest.mark.parametrize("draw", [sample, stream, branch])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_weights_that_break_in_training_end_sampling_with_their_name(
    lm: LanguageModel, draw: object, temperature: float
) -> None:
    lm.decoder.layers[1].weights["down"].value[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"its tensor model\.layers\.1\.mlp\.down_proj\.weight holds"):
        draw(lm, temperature)  # type: ignore[operator]


def test_a_broken_adapter_is_named(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=2))
    assert lm.adapter is not None
    name = next(name for name in lm.adapter.tensors() if name.endswith("lora_B.weight"))
    lm.adapter.restore(lm.adapter.tensors() | {name: torch.full_like(lm.adapter.tensors()[name], torch.nan)}, "here")
    with pytest.raises(InputError, match=f"its tensor {name} holds"):
        sample(lm, 1.0)


def test_log_probabilities_and_adapters_on_disk_are_looked_at_too(tiny_model: Path, tmp_path: Path) -> None:
    lm = load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=2))
    episodes = TorchEngine(lm).generate([TASK], Sampling(max_tokens=3))
    lm.save(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    name = sorted(tensors)[0]
    tensors[name][0, 0] = float("inf")
    save_file(tensors, tmp_path / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: tensor model\.layers\.0\..* holds values"):
        load(tmp_path)
    lm.decoder.norm.value[0] = float("nan")
    with pytest.raises(InputError, match=r"its tensor model\.norm\.weight holds"):
        TorchEngine(lm).logprobs(episodes)


def test_an_overflow_names_its_layer(lm: LanguageModel) -> None:
    lm.decoder.layers[1].weights["gate_up"].value.mul_(1e25)
    with pytest.raises(InputError, match=r"layer 1 \(from 0\) computes values that are not finite in torch.float32"):
        sample(lm, 0.0)


def test_a_reward_gives_no_such_score(lm: LanguageModel) -> None:
    model = RewardModel(lm, torch.nn.Parameter(torch.ones(1, lm.decoder.spec.hidden)))
    lm.decoder.layers[0].weights["norm1"].value[0] = float("nan")
    with pytest.raises(InputError, match=r"reward model: its tensor model\.layers\.0\.input_layernorm\.weight holds"):
        model.score_messages([[*TASK.messages, Message("assistant", "We do.")]])
