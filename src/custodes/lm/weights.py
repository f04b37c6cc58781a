"""A checkpoint's tensors: read, dequantised, and none left over.

Quantised checkpoints keep a tensor of small numbers beside its scales. Two kinds are multiplied out here: FP8 with a scale
for every block, row or tensor (``quant_method`` fp8, fbgemm_fp8), and compressed-tensors' integers and FP8, packed or not.
Others are refused: their numbers without their scales would load as plausible nonsense.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from custodes.lm.file_pages import MappedState
from custodes.lm.finite import check_tensors
from custodes.types import InputError

State = dict[str, Tensor]


def read_state(folder: Path) -> State:
    """Every tensor of the folder's weights, dequantised where they are quantised.

    Raises InputError for damaged files, tensors with values that are not finite, and kinds of quantisation that are unknown.
    """
    state: State = {}
    files = find_weights(folder)
    for file in files:
        tensors = _read_bin(file) if file.suffix == ".bin" else _read_safetensors(file)
        check_tensors(tensors, file)
        state.update(tensors)
    state = MappedState(state, files)
    state.forget(state.values())
    if (settings := quantisation(folder)) is not None:
        state = _dequantised(state, settings, folder)
    for name, tensor in state.items():
        if tensor.dtype.itemsize == 1:
            raise InputError(
                f"model folder {folder}: tensor {name} is stored as {str(tensor.dtype).removeprefix('torch.')} and config.json "
                "says nothing of its scale (quantization_config); download the model again, or one that is not quantised."
            )
    return state


def find_weights(folder: Path) -> list[Path]:
    """The folder's ``model*.safetensors``, else its ``pytorch_model*.bin``; at least one file, and all that an index names."""
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise InputError(
            f"model folder {folder} has no weights (model.safetensors, pytorch_model.bin or a .gguf file); "
            "save or download it again."
        )
    kind = "model.safetensors" if files[0].suffix == ".safetensors" else "pytorch_model.bin"
    index = folder / f"{kind}.index.json"
    if index.is_file() and folder / kind not in files:
        try:
            named = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{index} cannot be read; download or save it again.") from None
        if missing := sorted(named - {file.name for file in files}):
            raise InputError(f"model folder {folder} lacks {missing[0]}, which {index.name} names; download it again.")
    return files


def quantisation(folder: Path) -> dict[str, Any] | None:
    """``quantization_config`` of the folder's config.json."""
    found = json.loads((folder / "config.json").read_text()).get("quantization_config")
    return dict(found) if found else None


def is_classifier(config: Any) -> bool:
    """Whether a configuration is of a sequence classifier, which a reward model is."""
    return any("SequenceClassification" in name for name in config.architectures or ())


def check_all_read(names: Iterable[str], read: Iterable[str], source: object, *, spare: Iterable[str] = ()) -> None:
    """Raises InputError for the first of ``names`` that is neither ``read``, nor ``spare``, nor known to be derived."""
    for name in sorted({*names} - {*read} - {*spare}):
        if not name.endswith(DERIVED):
            raise InputError(
                f"{source} holds a tensor {name} that this architecture, as config.json has it, does not use; "
                "the two do not belong together, or the model is of another kind than config.json says."
            )


DERIVED = (".inv_freq", ".masked_bias", ".attn.bias", "position_ids", ".k_scale", ".v_scale")
"""Ends of names of tensors that follow from the configuration (angles of rotary embeddings, masks), or concern a quantised
cache, which is not used here."""


def _read_safetensors(file: Path) -> State:
    try:
        with safe_open(file, "pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:  # safetensors raises its own untyped errors
        raise InputError(f"{file} cannot be read as safetensors ({error}); download or save it again.") from None


def _read_bin(file: Path) -> State:
    """A pickle of tensors; ``weights_only``: nothing else in it is run."""
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        return {name: tensor.detach() for name, tensor in stored.items()}
    except Exception as error:  # unpickling raises whatever it meets
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{file} cannot be read as tensors alone ({reason}); download it again, or one in safetensors."
        ) from None


# ---------------------------------------------------------------- quantised checkpoints


def _dequantised(state: State, settings: dict[str, Any], folder: Path) -> State:
    method = str(settings.get("quant_method", "an unnamed method"))
    if method not in METHODS:
        raise InputError(
            f"model folder {folder} is quantised with {method}, which cannot be read; use the model as it was before, a .gguf "
            "file of it, or one in FP8 with block scales or compressed-tensors' integers."
        )
    read = METHODS[method]
    out: State = {}
    scaled = [name for name in state if name.endswith(SCALES)]
    for name in scaled:
        layer = name.rpartition(".")[0]
        try:
            out[f"{layer}.weight"] = read(state, layer, name, settings)
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"model folder {folder}: {layer}.weight cannot be dequantised ({str(error).strip()}); use a model that is "
                "not quantised, or a .gguf file."
            ) from None
    used = {f"{name.rpartition('.')[0]}.{part}" for name in scaled for part in PARTS}
    return out | {name: tensor for name, tensor in state.items() if name not in used}


SCALES = (".weight_scale_inv", ".weight_scale")
PARTS = (
    *("weight", "weight_packed", "weight_shape", "weight_scale", "weight_scale_inv", "weight_zero_point"),
    *("input_scale", "input_zero_point", "activation_scale", "output_scale", "weight_scale_ub", "input_scale_ub"),
)
"""What stands beside a quantised weight. Scales of activations are not used: these stay as they are computed."""


def _fp8(state: State, layer: str, scale: str, settings: dict[str, Any]) -> Tensor:
    """FP8 with one scale for a block, a row, or all (arXiv 2412.19437, section 3.3)."""
    return _scaled(state[f"{layer}.weight"], state[scale], None, settings.get("weight_block_size"))


def _compressed(state: State, layer: str, scale: str, settings: dict[str, Any]) -> Tensor:
    """compressed-tensors: integers or FP8 for each tensor, row, group of columns or block; 4 and 8 bits may be packed."""
    weights = _scheme(settings)
    block = weights.get("block_structure")
    if weights.get("strategy") == "group" or (weights.get("group_size") or -1) > 0:
        block = [1, weights["group_size"]]
    zero = state.get(f"{layer}.weight_zero_point")
    if weights.get("actorder") in ("group", "dynamic") or f"{layer}.weight_g_idx" in state:
        raise ValueError("its columns are in another order")
    if f"{layer}.weight_packed" not in state:
        return _scaled(state[f"{layer}.weight"], state[scale], zero, block)
    if weights.get("type", "int") != "int" or weights["num_bits"] not in (4, 8):
        raise ValueError(f"packed numbers of {weights['num_bits']} bits of type {weights.get('type')}")
    rows, columns = state[f"{layer}.weight_shape"].tolist()
    bits = int(weights["num_bits"])
    if zero is not None and zero.dtype == torch.int32:
        zero = _unpacked(zero.T, bits, rows).T
    return _scaled(_unpacked(state[f"{layer}.weight_packed"], bits, columns), state[scale], zero, block)


def _scheme(settings: dict[str, Any]) -> dict[str, Any]:
    """The one way in which all weights are quantised."""
    schemes = [group["weights"] for group in settings["config_groups"].values() if group.get("weights")]
    if len({json.dumps(s, sort_keys=True) for s in schemes}) != 1:
        raise ValueError("its layers are quantised in several ways")
    if settings.get("sparsity_config", {}).get("format", "dense") != "dense":
        raise ValueError("its weights are stored as sparse")
    return dict(schemes[0])


METHODS: dict[str, Callable[[State, str, str, dict[str, Any]], Tensor]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "compressed-tensors": _compressed,
}


def _scaled(weight: Tensor, scale: Tensor, zero: Tensor | None, block: list[int] | None) -> Tensor:
    """(out, in) bfloat16: (weight - zero) * scale, with one scale and zero for each block of rows and columns."""
    if weight.dtype in (torch.int32, torch.int64):
        raise ValueError(f"its numbers are stored as {weight.dtype}")
    out = weight.float()
    if zero is not None:
        out = out - _spread(zero.float(), weight.shape, block)
    return (out * _spread(scale.float(), weight.shape, block)).to(torch.bfloat16)


def _spread(scale: Tensor, shape: torch.Size, block: list[int] | None) -> Tensor:
    """One entry of ``scale`` for each block -> one for each weight, or as many as broadcasting needs."""
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.dim() == 1:
        scale = scale[:, None]
    for d in (0, 1):
        count, size = scale.shape[d], shape[d]
        if count in (1, size):
            continue
        step = block[d] if block else size // count
        if -(-size // step) != count:
            raise ValueError(f"scales of shape {tuple(scale.shape)} do not fit a weight of {tuple(shape)}")
        scale = scale.repeat_interleave(step, d).narrow(d, 0, size)
    return scale


def _unpacked(packed: Tensor, bits: int, columns: int) -> Tensor:
    """(rows, words) int32 -> (rows, columns): numbers of ``bits`` bits, lowest first, stored with 2^(bits - 1) added."""
    places = torch.arange(0, 32, bits, dtype=torch.int32)
    values = (packed[..., None] >> places) & (2**bits - 1)
    return (values.flatten(-2)[:, :columns] - 2 ** (bits - 1)).to(torch.int8)
