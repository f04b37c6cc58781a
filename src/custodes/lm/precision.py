"""In what precision a machine computes best.

bfloat16 halves memory and, on processors and accelerators with units for it (AMX, AVX-512 BF16, CUDA), makes
products several times faster. On any other processor its products run nine times *slower* than
float32 ones (two cores of an EPYC with AVX2: 19 against 170 GFLOP/s), so "auto" takes what is fast here.
"""

from __future__ import annotations

from typing import Literal

import torch

from custodes.errors import InputError

DtypeName = Literal["auto", "bfloat16", "float32", "float64"]
"""auto: bfloat16 where the device multiplies it natively, float32 elsewhere."""

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def dtype_for(name: DtypeName, device: str = "cpu") -> torch.dtype:
    """The type to compute in on ``device``."""
    if name != "auto":
        return DTYPES[name]
    native = multiplies_bfloat16() if torch.device(device).type == "cpu" else True
    return torch.bfloat16 if native else torch.float32


def device_named(name: str) -> str:
    """``auto`` is a CUDA device where there is one, else the processor. Raises InputError for one that is not here."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.partition(":")[0]
    if kind != "cpu" and not (kind == "cuda" and torch.cuda.is_available()):
        raise InputError(f"option device is {name!r}; it must be auto, cpu, or cuda where there is a CUDA device.")
    return name


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 products."""
    return _has("_is_amx_tile_supported") or _has("_is_avx512_bf16_supported")


def onednn_packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes weights of ``dtype`` in its own blocked layout on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _has(feature: str) -> bool:
    asked = getattr(torch.cpu, feature, None)
    return bool(asked is not None and asked())
