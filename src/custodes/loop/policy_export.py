"""A policy as others load it: merged into one model, as an adapter of peft, or as a GGUF file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.lm.adapter import ADAPTER_CONFIG, merged
from custodes.lm.decoder import Decoder
from custodes.lm.gguf_writing import write_gguf
from custodes.lm.loading import LanguageModel, load
from custodes.lm.precision import DtypeName
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class PolicyExport:
    """Write a policy for other programs: an adapter as peft's folder, else merged or as GGUF."""

    model: str
    """The policy: a run's folder, the folder of an adapter or of a model."""
    out: Output
    """New folder, or with --gguf a new .gguf file."""
    merge: bool = False
    """Add the adapter to the weights: a whole model that transformers loads by itself."""
    gguf: bool = False
    """Write one GGUF file, merged, in the precision that is chosen."""
    dtype: DtypeName = "auto"
    """Precision of what is written; merged in bfloat16, part of a small update is rounded away."""


@command()
def policy_export(config: PolicyExport) -> Path:
    """Write a policy for transformers, peft or GGUF.

    Returns the path. Raises InputError for a path that is taken, and for a model that a format cannot hold.
    """
    taken = config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir()))
    if taken or (config.gguf and config.out.is_dir()):
        raise InputError(f"{config.out} exists; choose another --out.")
    if config.gguf and config.out.suffix != ".gguf":
        raise InputError(f"--out {config.out} must end in .gguf with --gguf.")
    lm = load(config.model, dtype=config.dtype)
    if config.gguf:
        write_gguf(_merged(lm), config.out)
        return config.out
    if lm.adapter is None or config.merge:
        _merged(lm).save(config.out)
        return config.out
    lm.save(config.out)
    stored = json.loads((config.out / ADAPTER_CONFIG).read_text())
    save_json(config.out / ADAPTER_CONFIG, stored | {"base_model_name_or_path": str(lm.folder.resolve())})
    return config.out


@in_words(policy_export)
def _show(config: PolicyExport, path: Path) -> None:
    print(f"The policy is in {path}.")


def _merged(lm: LanguageModel) -> LanguageModel:
    """The same policy without an adapter: what the adapter adds is in its weights."""
    if not isinstance(lm.decoder, Decoder):
        raise InputError(f"{lm.name} runs through transformers; copy its folder, which is what would be written.")
    decoder = lm.decoder if lm.adapter is None else merged(lm.decoder, lm.adapter)
    return replace(lm, decoder=decoder, adapter=None)
