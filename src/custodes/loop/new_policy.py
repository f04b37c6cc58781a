"""The model that a command begins to train: an adapter on it, or all of its weights."""

from __future__ import annotations

from dataclasses import dataclass

from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.loading import LanguageModel, lasting_name, load
from custodes.lm.precision import DtypeName
from custodes.ranges import AnyInt, Count, ranged
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
@ranged
class NewPolicy:
    """Which model is trained, and what of it."""

    model: str = "smollm2-135m"
    """The policy to begin with: embedded, a folder (also of a run or an adapter), a .gguf file or a hub id."""
    full: bool = False
    """Train every weight in place of a low-rank adapter."""
    rank: Count = 16
    """Rank of adapters."""
    first_layer: AnyInt | None = None
    """Lowest layer that an adapter changes; a negative number counts from the top, None takes the
    upper half. What lies below is computed once."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation; what learns is kept in float32."""


def new_policy(config: NewPolicy, seed: int) -> LanguageModel:
    """The model with what is to be trained: its own adapter where it comes with one, a new one, or none.

    Raises InputError for a model that cannot be loaded, and for ``full`` on an adapter.
    """
    lm = load(config.model, dtype=config.dtype, device=config.device, seed=seed)
    lm.name = lasting_name(lm.name)
    if config.full and lm.adapter is not None:
        raise InputError(
            f"--full trains every weight, and {config.model} is an adapter; merge it with custodes policy export first."
        )
    if not config.full and lm.adapter is None:
        lm.adapter = Adapter(lm.decoder, AdapterConfig(config.rank, 2 * config.rank, config.first_layer), seed)
    return lm
