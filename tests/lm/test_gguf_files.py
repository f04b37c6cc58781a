"""GGUF files, written by the package that defines the format, against what they were made of."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from chat_models import write_chat_model
from gguf import GGMLQuantizationType as Kind
from transformers import AutoModelForCausalLM

from custodes.lm.cache import models_folder
from custodes.lm.loading import check_model, load
from custodes.types import InputError, Message

SIZES = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4}
FAST = ("llama", "qwen2", "qwen3")
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "gemma3": ("Gemma3Text", {"head_dim": 32, "sliding_window": 512}),
    "phi3": ("Phi3", {}),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of bytes and a ChatML template."""
    return write_chat_model(tmp_path_factory.mktemp("base"), "chatml")


def make(base: Path, architecture: str, **changes: Any) -> Any:
    """A random model of an architecture of GGUF, as transformers has it."""
    import transformers

    name, own = MODELS[architecture]
    vocab = len(json.loads((base / "tokenizer.json").read_text())["model"]["vocab"])
    more = {"vocab_size": vocab, "num_hidden_layers": 2, "max_position_embeddings": 512, "pad_token_id": None}
    config = getattr(transformers, f"{name}Config")(
        **SIZES | more | {"eos_token_id": 0, "bos_token_id": None} | own | changes
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for parameter_name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in parameter_name and "gemma" not in architecture else 0.0
            torch.nn.init.normal_(parameter, centre, 0.1)
    return model


def write(model: Any, base: Path, file: Path, architecture: str, kind: Kind, **fields: Any) -> dict[str, torch.Tensor]:
    """The model in llama.cpp's layout; returns each parameter as the file's numbers mean it."""
    config, writer = model.config, gguf.GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0 if architecture != "gemma3" else 1000000.0)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    if architecture == "phi3":
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    stored = json.loads((base / "tokenizer.json").read_text())
    control = {token["content"] for token in stored["added_tokens"]}
    tokens = sorted(stored["model"]["vocab"], key=stored["model"]["vocab"].get)
    pieces, settings = stored["model"]["byte_fallback"], json.loads((base / "tokenizer_config.json").read_text())
    types = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("llama" if pieces else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.BYTE if re.fullmatch("<0x..>", t) else types[t in control] for t in tokens])
    if pieces:
        writer.add_token_scores([float(-i) for i in range(len(tokens))])
        writer.add_unk_token_id(0)
    else:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in stored["model"]["merges"]])
    if "bos_token" in settings:
        writer.add_bos_token_id(tokens.index(settings["bos_token"]))
    writer.add_eos_token_id(tokens.index(settings["eos_token"]))
    writer.add_chat_template((base / "chat_template.jinja").read_text())
    for key, value in fields.items():
        writer.add_string(key.replace("__", "."), value)
    names = gguf.get_tensor_name_map(
        next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture), config.num_hidden_layers
    )
    meant: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        shift = 1.0 if "gemma" in architecture and "norm" in name else 0.0
        used = Kind.F32 if weight.ndim == 1 else kind
        raw = (weight + shift).astype(np.float32)
        data = raw if used == Kind.F32 else gguf.quantize(raw, used)
        meant[name] = torch.from_numpy(np.array(gguf.dequantize(data, used), np.float32) - np.float32(shift))
        if architecture == "llama" and heads:  # rows of a head, interleaved from its two halves
            rows = np.arange(len(data)).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)
            data = np.ascontiguousarray(data[rows])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), data, raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def opened(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="architecture .* runs through transformers")
        return load(path, dtype="float32")


KINDS = [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.TQ1_0, Kind.TQ2_0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_quantisation_means_what_the_package_says(base: Path, tmp_path: Path, kind: Kind) -> None:
    meant = write(make(base, "llama"), base, tmp_path / "model.gguf", "llama", kind)
    for name, tensor in load(tmp_path / "model.gguf", dtype="float32").decoder.state().items():
        torch.testing.assert_close(tensor, meant[name].to(torch.bfloat16).float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "kind",
    [Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K, Kind.IQ4_NL, Kind.IQ4_XS],
    ids=lambda kind: kind.name,
)
def test_blocks_that_the_package_only_reads(base: Path, tmp_path: Path, kind: Kind) -> None:
    """Their bytes are drawn; the scales are made small and finite."""
    rng, model = np.random.default_rng(0), make(base, "llama")
    raw: dict[int, np.ndarray] = {}

    def drawn(weight: np.ndarray, _: Kind) -> np.ndarray:
        data = rng.integers(0, 60, gguf.quant_shape_to_byte_shape(weight.shape, kind), np.uint8)
        raw[len(raw)] = data
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "quantize", drawn)
        meant = write(model, base, tmp_path / "model.gguf", "llama", kind)
    for name, tensor in load(tmp_path / "model.gguf", dtype="float32").decoder.state().items():
        torch.testing.assert_close(tensor, meant[name].to(torch.bfloat16).float(), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_computes_what_the_model_computes(base: Path, tmp_path: Path, architecture: str, tied: bool) -> None:
    model = make(base, architecture, tie_word_embeddings=tied)
    write(model, base, tmp_path / "model.gguf", architecture, Kind.F32)
    lm = opened(tmp_path)  # a folder that holds it
    theirs = AutoModelForCausalLM.from_pretrained(lm.folder, dtype=torch.float32).eval()
    ids = torch.arange(40)[None] * 5 % 250
    with torch.no_grad():
        original, converted = model(ids).logits, theirs(ids).logits
    assert torch.allclose(original, converted, atol=0.03 * float(original.abs().max()))  # rounded to bfloat16
    assert not torch.allclose(original, original.roll(1, 1), atol=0.03 * float(original.abs().max()))
    for name, tensor in lm.decoder.state().items():
        assert torch.equal(tensor, dict(theirs.named_parameters())[name])


@pytest.mark.parametrize(("template", "architecture"), [("chatml", "llama"), ("llama2", "llama"), ("phi3", "phi3")])
def test_tokenizer_and_chat_template_are_those_of_the_file(tmp_path: Path, template: str, architecture: str) -> None:
    base = write_chat_model(tmp_path / "base", template)
    write(make(base, architecture), base, tmp_path / "model.gguf", architecture, Kind.F16)
    lm, original = opened(tmp_path / "model.gguf"), load(base)
    talk = [Message("user", "Who watches 12 watchers?\n\n <|im_end|> é"), Message("assistant", "We do.")]
    assert lm.chat.conversation(talk) == original.chat.conversation(talk)
    assert lm.end_ids == original.end_ids


def test_a_file_is_converted_once(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write(make(base, "llama"), base, file, "llama", Kind.Q8_0)
    check_model(file)
    folder = load(file).folder
    written = (folder / "model.safetensors").stat().st_mtime_ns
    shutil.copy(file, tmp_path / "copy.gguf")
    assert load(tmp_path / "copy.gguf").folder == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_a_damaged_conversion_is_made_again(base: Path, tmp_path: Path) -> None:
    write(make(base, "llama"), base, tmp_path / "model.gguf", "llama", Kind.Q8_0)
    lm = load(tmp_path / "model.gguf")
    before = lm.fingerprint()
    weights = lm.folder / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-64:] = b"\x01" * 64
    weights.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"model\.safetensors is damaged; this cached model is made again"):
        again = load(tmp_path / "model.gguf")
    assert again.fingerprint() == before


def test_files_that_cannot_be_read_are_refused(base: Path, tmp_path: Path) -> None:
    file, model = tmp_path / "model.gguf", make(base, "llama")
    write(model, base, file, "llama", Kind.F32)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"model\.gguf cannot be read as a GGUF model"):
        load(file)
    file.write_bytes(whole)
    shutil.copy(file, tmp_path / "other.gguf")
    with pytest.raises(InputError, match="holds 2 GGUF files; name one of them"):
        load(tmp_path)
    write(model, base, file, "llama", Kind.F32, llama__rope__scaling__type="longrope")
    with pytest.raises(InputError, match="scales its positions by 'longrope'"):
        load(file)
    with torch.no_grad():
        model.model.norm.weight[3] = torch.nan
    write(model, base, file, "llama", Kind.F32)
    with pytest.raises(InputError, match=r"tensor output_norm\.weight holds values that are not finite"):
        load(file)
    writer = gguf.GGUFWriter(file, "falcon")
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InputError, match="architecture 'falcon'; GGUF files are read of llama, qwen2"):
        load(file)
    assert not list(models_folder().glob("gguf-*[0-9a-f]"))
