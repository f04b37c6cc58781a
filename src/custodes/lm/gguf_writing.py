"""A model as one GGUF file, in its own precision: the layout that :mod:`custodes.lm.gguf_files` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.lm.loading import LanguageModel
from custodes.types import InputError

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Of ``transformers`` -> of GGUF."""
SPLITS = {"llama": "llama-bpe", "mistral": "tekken", "qwen2": "qwen2", "qwen3": "qwen2"}
"""How a tokenizer with a pattern of its own splits words, by the model's architecture."""


def write_gguf(lm: LanguageModel, file: Path) -> None:
    """Write weights, tokenizer and chat template. Raises InputError where the format has no place for one of them."""
    import gguf

    config = lm.config.to_dict()
    architecture = ARCHITECTURES.get(config["model_type"])
    if architecture is None:
        raise InputError(
            f"{lm.name} is of architecture {config['model_type']!r}; GGUF is written of {', '.join(ARCHITECTURES)}."
        )
    spec = lm.decoder.spec
    tokenizer = _tokenizer(lm, config["model_type"])
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name(Path(lm.name).name)
    writer.add_block_count(spec.layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(spec.hidden)
    writer.add_feed_forward_length(spec.intermediate)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_layer_norm_rms_eps(spec.norm_eps)
    writer.add_rope_freq_base(_rope_base(lm, config))
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_vocab_size(spec.vocab)
    for method, value in tokenizer:
        getattr(writer, method)(value)
    names = gguf.get_tensor_name_map(
        next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), spec.layers
    )
    whole = gguf.GGMLQuantizationType.BF16 if lm.decoder.dtype == torch.bfloat16 else gguf.GGMLQuantizationType.F32
    for name, tensor in lm.decoder.state().items():
        weight = tensor.detach().float().cpu().numpy()
        heads = {"q_proj": spec.heads, "k_proj": spec.kv_heads}.get(name.split(".")[-2])
        if architecture == "llama" and heads:
            weight = _pairs_from_halves(weight, heads)
        kind = gguf.GGMLQuantizationType.F32 if weight.ndim == 1 else whole
        writer.add_tensor(str(names.get_name(name, (".weight", ".bias"))), gguf.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _pairs_from_halves(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """GGUF's order of the rows of a head, (heads * dim, ...): it rotates neighbours where Hugging Face's Llama rotates row i
    with row i + dim / 2."""
    rows = len(weight)
    return np.ascontiguousarray(weight.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape))


def _rope_base(lm: LanguageModel, config: dict[str, Any]) -> float:
    rope = config.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default")
    if kind != "default":
        raise InputError(
            f"{lm.name} scales its positions by {kind!r}, which is not written to GGUF here; merge it to a folder instead."
        )
    return float(rope.get("rope_theta") or config["rope_theta"])


def _tokenizer(lm: LanguageModel, model_type: str) -> list[tuple[str, Any]]:
    """(method of the writer, value) of everything that the tokenizer is. Raises InputError for one that is no byte-level BPE."""
    import gguf

    stored = json.loads(lm.tokenizer.backend_tokenizer.to_str())
    model = stored["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise InputError(
            f"{lm.name} has a {model['type']} tokenizer that is no byte-level BPE; GGUF is not written of it here."
        )
    added = {token["id"]: token for token in stored["added_tokens"]}
    vocabulary = {**{i: t for t, i in model["vocab"].items()}, **{i: t["content"] for i, t in added.items()}}
    tokens = [vocabulary.get(i, f"[PAD{i}]") for i in range(lm.decoder.spec.vocab)]
    kinds = gguf.TokenType
    types = [
        kinds.UNUSED if i not in vocabulary else kinds.NORMAL if i not in added
        else kinds.CONTROL if added[i]["special"] else kinds.USER_DEFINED
        for i in range(len(tokens))
    ]  # fmt: skip
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    fields: list[tuple[str, Any]] = [
        ("add_tokenizer_model", "gpt2"),
        ("add_tokenizer_pre", _split(stored.get("pre_tokenizer"), model_type, lm.name)),
        ("add_token_list", tokens),
        ("add_token_types", types),
        ("add_token_merges", merges),
        ("add_chat_template", lm.chat.template),
    ]
    ends = {"bos": lm.tokenizer.bos_token_id, "eos": lm.tokenizer.eos_token_id, "pad": lm.tokenizer.pad_token_id}
    return fields + [(f"add_{name}_token_id", id) for name, id in ends.items() if id is not None]


def _split(pre: Any, model_type: str, name: str) -> str:
    """GGUF's name of how words are split. Raises InputError for a way that it has no name for here."""
    steps = pre.get("pretokenizers", [pre]) if pre else []
    kinds = [step["type"] for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return "smollm"
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"]:
        return SPLITS[model_type]
    raise InputError(f"{name} splits words by {', '.join(kinds) or 'nothing'}, which GGUF is not written of here.")
