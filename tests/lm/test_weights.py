"""Checkpoints: quantised ones are multiplied out, none of their tensors is passed over, and numbers are numbers."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import write_model
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from custodes.lm.file_pages import MappedState
from custodes.lm.loading import check_model, load
from custodes.lm.weights import read_state
from custodes.types import InputError

State = dict[str, Tensor]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def settings(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def is_projection(name: str) -> bool:
    return name.endswith("proj.weight")


def quantise(folder: Path, how: Callable[[Tensor], tuple[State, Tensor]], config: dict[str, Any]) -> State:
    """Store projections as ``how`` gives them (their parts, by suffix, and what they mean); returns what each means."""
    stored: State = {}
    meant: State = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        meant[name] = tensor
        if not is_projection(name):
            stored[name] = tensor
            continue
        parts, meant[name] = how(tensor.float())
        stored |= {f"{name.removesuffix('weight')}{suffix}": part.contiguous() for suffix, part in parts.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    settings(folder, quantization_config=config)
    return meant


def blocks(tensor: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """(out / rows, in / columns) greatest entries, and the same spread over the tensor."""
    out = tensor.new_empty(-(-len(tensor) // rows), -(-tensor.shape[1] // columns))
    wide = torch.empty_like(tensor)
    for i in range(len(out)):
        for j in range(out.shape[1]):
            part = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
            out[i, j] = tensor[part].abs().max()
            wide[part] = out[i, j]
    return out, wide


def fp8(rows: int, columns: int, suffix: str) -> Callable[[Tensor], tuple[State, Tensor]]:
    def how(tensor: Tensor) -> tuple[State, Tensor]:
        scale, wide = (s / 448 for s in blocks(tensor, rows, columns))
        small = (tensor / wide).to(torch.float8_e4m3fn)
        return {"weight": small, suffix: scale}, small.float() * wide

    return how


def whole(tensor: Tensor, columns: int, zero: bool = False, bits: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whole numbers of ``bits`` bits, scales and zeros of each row and group of columns, and what they mean."""
    scale, wide = (s / (2 ** (bits - 1) - 1) for s in blocks(tensor, 1, columns))
    offset = torch.full_like(scale, 3.0 if zero else 0.0)
    least = -(2 ** (bits - 1))
    small = (tensor / wide + offset[0, 0]).round().clamp(least, -least - 1)
    return small.to(torch.int8), scale, offset.to(torch.int8), (small - offset[0, 0]) * wide


def integers(tensor: Tensor) -> tuple[State, Tensor]:
    small, scale, _, meant = whole(tensor, tensor.shape[1])
    return {"weight": small, "weight_scale": scale}, meant


def integers_with_zeros(tensor: Tensor) -> tuple[State, Tensor]:
    small, scale, zero, meant = whole(tensor, 16, zero=True)
    return {"weight": small, "weight_scale": scale, "weight_zero_point": zero}, meant


def packed(tensor: Tensor) -> tuple[State, Tensor]:
    small, scale, _, meant = whole(tensor, 16, bits=4)
    words = torch.zeros(len(small), small.shape[1] // 8, dtype=torch.int64)
    for i in range(8):
        words |= (small[:, i::8].long() + 8) << (4 * i)
    words = torch.where(words >= 2**31, words - 2**32, words).int()
    return {"weight_packed": words, "weight_scale": scale, "weight_shape": torch.tensor(small.shape)}, meant


def compressed(**weights: object) -> dict[str, Any]:
    scheme = {"num_bits": 8, "type": "int", "strategy": "channel", "group_size": None} | weights
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": scheme}}}


BLOCKED = {"quant_method": "fp8", "weight_block_size": [20, 24], "activation_scheme": "dynamic"}
QUANTISED = {
    "fp8 blocks": (fp8(20, 24, "weight_scale_inv"), BLOCKED),
    "fp8 rows": (fp8(1, 999, "weight_scale"), {"quant_method": "fbgemm_fp8"}),
    "fp8 tensor": (fp8(999, 999, "weight_scale_inv"), {"quant_method": "fp8"}),
    "compressed fp8": (fp8(1, 999, "weight_scale"), compressed(type="float")),
    "compressed int8": (integers, compressed()),
    "compressed int8 groups": (integers_with_zeros, compressed(strategy="group", group_size=16)),
    "compressed int4 packed": (packed, compressed(num_bits=4, strategy="group", group_size=16)),
}


@pytest.mark.parametrize("kind", QUANTISED)
@pytest.mark.parametrize("fast", [True, False])
def test_quantised_weights_are_multiplied_out(
    folder: Path, tiny_model: Path, tmp_path: Path, kind: str, fast: bool
) -> None:
    """On the fast path, and for an architecture that transformers runs."""
    if not fast:
        shutil.rmtree(folder)
        write_model(folder, tiny_model, "Gemma", head_dim=8)
    meant = quantise(folder, *QUANTISED[kind])
    lm = load(folder, dtype="float32") if fast else _slowly(folder)
    state = lm.decoder.state()
    assert any(is_projection(name) for name in state)
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, meant[name].to(torch.bfloat16).float(), atol=0, rtol=0.01)
    lm.save(tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)


def _slowly(folder: Path) -> Any:
    with pytest.warns(UserWarning, match="runs through transformers"):
        return load(folder, dtype="float32")


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "mxfp4", "quanto"])
def test_other_quantisations_are_refused_by_name(folder: Path, method: str) -> None:
    settings(folder, quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(InputError, match=rf"is quantised with {method}, which cannot be read; use"):
        load(folder)


@pytest.mark.parametrize("damage", ["shape", "order", "two ways"])
def test_quantised_weights_that_cannot_be_multiplied_out_are_refused(folder: Path, damage: str) -> None:
    config = compressed(actorder="group" if damage == "order" else None)
    if damage == "two ways":
        config["config_groups"]["group_1"] = {"weights": {"num_bits": 4}}
    quantise(folder, integers, config)
    if damage == "shape":
        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.0.mlp.up_proj.weight_scale"
        tensors[name] = tensors[name][:5].contiguous()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"proj\.weight cannot be dequantised"):
        load(folder)


def test_small_numbers_without_a_scale_are_refused(folder: Path) -> None:
    quantise(folder, *QUANTISED["fp8 tensor"])
    settings(folder, quantization_config=None)
    with pytest.raises(
        InputError, match=r"weight is stored as float8_e4m3fn and config.json says nothing of its scale"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("model.layers.0.self_attn.q_norm.weight", True),
        ("model.layers.2.mlp.up_proj.weight", True),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", True),
        ("model.layers.0.self_attn.k_proj.bias", True),
        ("v_head.summary.weight", True),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", False),
    ],
)
def test_a_tensor_that_nobody_asks_for_is_named(folder: Path, name: str, refused: bool) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {name: torch.ones(3)}, folder / "model.safetensors", {"format": "pt"})
    if refused:
        with pytest.raises(InputError, match=f"holds a tensor {name} that this architecture"):
            load(folder)
    else:
        load(folder)


def test_such_a_tensor_is_named_for_other_architectures_too(tiny_model: Path, tmp_path: Path) -> None:
    sizes = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    GPT2LMHeadModel(GPT2Config(**sizes, eos_token_id=1, bos_token_id=1)).save_pretrained(tmp_path)
    for file in tiny_model.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copyfile(file, tmp_path / file.name)
    _slowly(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"transformer.h.0.extra": torch.ones(3)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"holds a tensor transformer\.h\.0\.extra"):
        load(tmp_path)


def test_a_tied_head_may_be_stored_and_must_be_the_embedding(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors | {"lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})
    load(folder)
    save_file(tensors | {"lm_head.weight": head + 1}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError, match=r"holds a tensor lm_head\.weight that this architecture, as config\.json has it"
    ):
        load(folder)


@pytest.mark.parametrize("shards", [1, 2])
def test_pickled_weights_are_read_as_tensors(folder: Path, tiny_model: Path, shards: int) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ["pytorch_model.bin"] if shards == 1 else [f"pytorch_model-0000{i + 1}-of-00002.bin" for i in range(2)]
    names = sorted(tensors)
    for i, file in enumerate(files):
        torch.save({name: tensors[name] for name in names[i::shards]}, folder / file)
    if shards > 1:
        where = {name: files[k % shards] for k, name in enumerate(names)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    check_model(folder)
    assert load(folder, dtype="float32").fingerprint() == load(tiny_model, dtype="float32").fingerprint()
    (folder / files[-1]).unlink()
    with pytest.raises(InputError, match="has no weights" if shards == 1 else f"lacks {files[-1]}"):
        load(folder)


def test_a_pickle_that_would_run_something_is_refused(folder: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"model.norm.weight": Harm()}, file)
    with pytest.raises(InputError, match=r"pytorch_model\.bin cannot be read as tensors alone"):
        load(folder)
    assert not (tmp_path / "harm").exists()


def test_pages_of_a_file_are_given_back_and_other_memory_is_left_alone(tmp_path: Path):
    """The weights of a real model stand twice in memory for a moment otherwise."""
    file = tmp_path / "model.safetensors"
    stored = {f"t{k}": torch.full((512, 1024), float(k)) for k in range(8)}  # 16 MB
    save_file(stored, file)
    (tmp_path / "config.json").write_text("{}")
    state = read_state(tmp_path)
    assert isinstance(state, MappedState)
    assert state.ranges
    own = torch.full((512, 1024), 3.0)
    touched = sum(float(t.sum()) for t in state.values())
    before = resident_of_files()
    state.forget([*state.values(), own])
    assert before - resident_of_files() > 12e6
    assert torch.equal(own, torch.full((512, 1024), 3.0))
    assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
    assert touched == sum(float(t.sum()) for t in stored.values())


def resident_of_files() -> int:
    """Bytes of this process's memory that are pages of files."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("RssFile"))
    return int(line.split()[1]) * 1024
