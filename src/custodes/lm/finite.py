"""Numbers that are none: found early, and traced to the tensor or the layer that they come from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custodes.lm.packing import pack
from custodes.types import InputError


class NotFiniteError(InputError):
    """A model's answer to the tokens ``ids`` is NaN or infinite."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__("the model computes values that are not finite.")
        self.ids = ids


def is_finite(tensor: Tensor) -> bool:
    """Whether every entry is a number: NaN and infinities show in the sum, which takes a tenth of a test of each entry."""
    if not tensor.is_floating_point():
        return True
    wide = torch.float32 if tensor.dtype.itemsize < 4 and tensor.dtype != torch.bfloat16 else tensor.dtype
    return math.isfinite(float(tensor.detach().sum(dtype=wide)))


def check_tensors(tensors: Mapping[str, Tensor], source: object) -> None:
    """Raises InputError where a tensor of ``source`` holds NaN or an infinity, with its name."""
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise InputError(
                f"{source}: tensor {name} holds values that are not finite; download, save or train it again."
            )


@contextmanager
def finite_model(name: str, decoder: Any, adapter: Any = None) -> Iterator[None]:
    """Turns :class:`NotFiniteError` into a sentence that names the tensor, or else the layer, of model ``name``."""
    try:
        yield
    except NotFiniteError as error:
        raise InputError(f"{name}: {_origin(decoder, adapter, error.ids)}.") from None


def _origin(decoder: Any, adapter: Any, ids: Sequence[int]) -> str:
    """Where values that are not finite come from: the weights, or the first layer whose outcome is none."""
    tensors = decoder.state() | ({} if adapter is None else adapter.tensors())
    for tensor, value in tensors.items():
        if not is_finite(value):
            return f"its tensor {tensor} holds values that are not finite; load a whole copy, or train it more gently"
    batch, last = pack([np.asarray(ids, np.int32)]).to(decoder.device), decoder.spec.layers
    bounds = range(last) if type(decoder).__name__ == "Decoder" else ()  # transformers runs all layers or none
    with torch.no_grad():
        x = decoder.embed(batch)
        for layer in bounds:
            x = decoder.run(x, batch, layer, layer + 1, adapter)
            if not is_finite(x):
                return (
                    f"layer {layer} (from 0) computes values that are not finite in {decoder.dtype}, from weights that are; "
                    "use --dtype float32 or another model"
                )
    return f"its logits are not finite in {decoder.dtype}, from weights that are; use --dtype float32 or another model"
