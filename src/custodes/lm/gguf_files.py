"""GGUF files: one file with weights in any of ggml's quantisations, tokenizer and chat template.

They are dequantised once into an ordinary bfloat16 safetensors folder in the user's cache, named after the digest of the
file; every tool of the Hugging Face family loads it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from custodes.files import save_json, save_text
from custodes.job.progress import Progress
from custodes.lm.cache import digests, models_folder, prepared
from custodes.types import InputError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from numpy.typing import NDArray

WEIGHTS = "model.safetensors"
COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3")
"""Names in GGUF; Mistral's models are called llama there."""
DIGITS = ("smollm", "codeshell", "refact", "command-r", "starcoder", "exaone", "minerva-7b")
"""Pre-tokenisers that split numbers into digits and are else GPT-2's; ``transformers`` leaves the digits out."""
SPLITS = ("default", "gpt-2", "llama-bpe", "llama3", "llama-v3", "tekken", "qwen2", "deepseek-r1-qwen", *DIGITS)


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that ``path`` is, or that it holds alone, beside no weights of another kind; else None.

    Raises InputError for a folder of several.
    """
    if path.is_file():
        return path if path.suffix == ".gguf" else None
    if not path.is_dir() or any(path.glob("*.safetensors")) or any(path.glob("*.bin")):
        return None
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(f"folder {path} holds {len(files)} GGUF files; name one of them, e.g. {files[0]}.")
    return files[0] if files else None


def gguf_model(file: Path) -> Path:
    """The folder with a GGUF file's model, converted when it is not in the cache yet.

    Raises InputError where the file is damaged or of an architecture that is not known, or the cache cannot be written.
    """
    (digest,) = digests([file])

    def make(_: Path, staged: Path) -> None:
        with Progress(*COLUMNS) as progress:
            convert(file, staged, progress)

    return prepared(models_folder() / f"gguf-{digest[:24]}", {"gguf": digest}, make)


def convert(file: Path, folder: Path, progress: Progress) -> None:
    """Write a GGUF file's model as a Hugging Face folder in bfloat16. Raises InputError as :func:`gguf_model` does."""
    from gguf import GGUFReader
    from safetensors.torch import save_file

    bar = progress.add_task("Reading its metadata", total=None)
    try:
        reader = GGUFReader(file)
        architecture = str(_value(reader, "general.architecture"))
        if architecture not in ARCHITECTURES:
            raise InputError(
                f"{file} holds a model of architecture {architecture!r}; GGUF files are read of {', '.join(ARCHITECTURES)}."
            )
        config = _config(file, reader, architecture)
        folder.mkdir(parents=True)
        _write_tokenizer(file, reader, config, folder)
        state = _state(file, reader, architecture, config, progress, bar)
    except (InputError, OSError):
        raise
    except Exception as error:  # the reader and transformers raise whatever they meet
        raise InputError(
            f"{file} cannot be read as a GGUF model ({str(error).strip() or type(error).__name__})."
        ) from None
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    kept = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
    save_json(folder / "config.json", kept)
    special = {key: getattr(config, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    save_json(folder / "generation_config.json", special)


def _value(reader: GGUFReader, key: str, default: Any = None) -> Any:
    return reader.fields[key].contents() if key in reader.fields else default


# ---------------------------------------------------------------- configuration


def _config(file: Path, reader: GGUFReader, architecture: str) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    for name in ("rms_norm_eps", "layer_norm_eps"):  # stored as float32: its shortest form is the number that was meant
        if hasattr(config, name):
            setattr(config, name, float(str(np.float32(getattr(config, name)))))
    rows = {tensor.name: int(tensor.shape[-1]) for tensor in reader.tensors}
    config.vocab_size = rows["token_embd.weight"]
    config.tie_word_embeddings = "output.weight" not in rows
    for name in ("bos", "eos", "padding"):
        setattr(config, f"{name.removesuffix('ding')}_token_id", _value(reader, f"tokenizer.ggml.{name}_token_id"))
    if hasattr(config, "head_dim") and (size := _value(reader, f"{architecture}.attention.key_length")):
        config.head_dim = size
    if hasattr(config, "attention_bias"):
        config.attention_bias = "blk.0.attn_q.bias" in rows
    config.architectures, config.dtype = [KNOWN[config.model_type]], "bfloat16"
    _scale_rope(file, reader, architecture, config)
    return config


def _scale_rope(file: Path, reader: GGUFReader, architecture: str, config: Any) -> None:
    """Long contexts: what the metadata say of them, or Llama 3's factors, which stand in a tensor."""
    kind = _value(reader, f"{architecture}.rope.scaling.type", "none")
    length = f"{architecture}.rope.scaling.original_context_length"
    if kind in ("linear", "yarn"):
        more: dict[str, Any] = {"rope_type": kind, "factor": _value(reader, f"{architecture}.rope.scaling.factor")}
        if kind == "yarn":
            more["original_max_position_embeddings"] = _value(reader, length, config.max_position_embeddings)
        config.rope_parameters = {**config.rope_parameters, **more}
    elif kind != "none":
        raise InputError(f"{file} scales its positions by {kind!r}, which is not known here; use another file.")
    factors = [tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    if not factors:
        return
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config.rope_parameters = {
        **config.rope_parameters,
        "rope_type": "llama3",
        "factor": float(np.max(factors[0])),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    scaled = np.asarray(ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0])
    size = 2 * len(scaled)
    plain = 1 / config.rope_parameters["rope_theta"] ** (np.arange(0, size, 2) / size)
    if not np.allclose(scaled * np.asarray(factors[0]), plain, rtol=1e-3):
        raise InputError(f"{file} scales its positions in a way (rope_freqs) that is not Llama 3's; use another file.")


# ---------------------------------------------------------------- tokenizer


def _write_tokenizer(file: Path, reader: GGUFReader, config: Any, folder: Path) -> None:
    from tokenizers import normalizers, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    backend, split = tokenizer.backend_tokenizer, str(_value(reader, "tokenizer.ggml.pre", "default"))
    if split in DIGITS:
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    elif split not in SPLITS:
        warnings.warn(
            f"{file} splits words as {split!r} does, which may not be known here: texts may be read as other tokens than "
            "those it was trained on.",
            stacklevel=6,
        )
    if _value(reader, "tokenizer.ggml.model") == "llama" and not config.model_type.startswith("gemma"):
        # the format's own reader puts a space before every text between control tokens, unless the file says otherwise
        space = [normalizers.Prepend("▁")] if _value(reader, "tokenizer.ggml.add_space_prefix", True) else []
        backend.normalizer = normalizers.Sequence([*space, normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
    stored = json.loads(backend.to_str())
    if config.model_type == "phi3":  # white space after these is theirs, which the format has no field for
        for token in stored["added_tokens"]:
            token["rstrip"] = token["special"] and token["content"] not in ("<unk>", "<s>", "<|endoftext|>")
    save_json(folder / "tokenizer.json", stored, indent=None)
    tokens, settings = _value(reader, "tokenizer.ggml.tokens"), {}
    for name in ("bos", "eos", "pad", "unk"):
        long = {"pad": "padding", "unk": "unknown"}.get(name, name)
        if (number := _value(reader, f"tokenizer.ggml.{long}_token_id")) is not None:
            settings[f"{name}_token"] = tokens[number]
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }
    save_json(folder / "tokenizer_config.json", settings)
    if template := _value(reader, "tokenizer.chat_template"):
        save_text(folder / "chat_template.jinja", template)


# ---------------------------------------------------------------- weights


def _state(
    file: Path, reader: GGUFReader, architecture: str, config: Any, progress: Progress, bar: Any
) -> dict[str, Any]:
    """Every parameter of the model, by the name that ``transformers`` gives it."""
    import torch
    from gguf import dequantize
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        parameters = dict(AutoModelForCausalLM.from_config(config).named_parameters())
    names = _names(architecture, config.num_hidden_layers, parameters)
    heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", None)}
    progress.update(bar, description="Converting its weights", total=len(reader.tensors), completed=0)
    state: dict[str, Any] = {}
    for tensor in reader.tensors:
        progress.advance(bar)
        if tensor.name == "rope_freqs.weight":  # in the configuration
            continue
        if tensor.name not in names:
            raise InputError(f"{file}: tensor {tensor.name} has no place in a model of architecture {architecture}.")
        name = names[tensor.name]
        weight = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads:
            weight = _halves_from_pairs(weight, heads[part])
        if architecture.startswith("gemma") and "norm" in part:
            weight = weight - 1  # llama.cpp keeps what multiplies, transformers its distance from 1
        if not np.isfinite(weight.sum()):
            raise InputError(f"{file}: tensor {tensor.name} holds values that are not finite; download it again.")
        state[name] = torch.from_numpy(weight).to(torch.bfloat16)
        if state[name].shape != parameters[name].shape:
            raise InputError(
                f"{file}: tensor {tensor.name} has shape {tuple(state[name].shape)} instead of {tuple(parameters[name].shape)}."
            )
    if missing := sorted(parameters.keys() - state.keys()):
        raise InputError(f"{file} holds nothing for {missing[0]}; the file is incomplete.")
    return state


def _names(architecture: str, layers: int, parameters: Mapping[str, Any]) -> dict[str, str]:
    """GGUF's name of each parameter -> ``transformers``' name."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    kind = next(kind for kind, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(kind, layers)
    found = {names.get_name(name, try_suffixes=(".weight", ".bias")): name for name in parameters}
    return {gguf: name for gguf, name in found.items() if gguf is not None}


def _halves_from_pairs(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo GGUF's order of the rows of a head, (heads * dim, ...).

    GGUF rotates neighbouring rows as pairs, Hugging Face's Llama rotates row i with row i + dim / 2.
    """
    rows = len(weight)
    return weight.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)
