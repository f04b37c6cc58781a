"""A model with more tokens in its vocabulary, which it reads and never draws."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from custodes.files import save_json
from custodes.lm.decoder import Decoder
from custodes.lm.loading import LanguageModel, load
from custodes.lm.precision import DtypeName
from custodes.types import InputError

TABLES = ("model.embed_tokens.weight", "lm_head.weight")
GENERATION = "generation_config.json"


def with_control_tokens(lm: LanguageModel, tokens: Sequence[str], folder: Path, seed: int = 0) -> LanguageModel:
    """``lm``, all its weights, with ``tokens`` in its vocabulary: written to ``folder`` and loaded from there.

    A new row of the embedding is drawn around the mean of the others, with their spread in each dimension. The generation
    settings list the new ids as ``suppress_tokens``: transformers and the engines here never draw them. Written once; a folder
    that holds the model is loaded as it is. Raises InputError for a model with an adapter, of an architecture that transformers
    runs, or with one of the tokens.
    """
    if not (folder / GENERATION).is_file():  # written last
        _write(lm, tokens, folder, seed)
    return load(folder, dtype=_NAMES[lm.decoder.dtype], device=str(lm.decoder.device))


_NAMES: dict[torch.dtype, DtypeName] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float64: "float64",
}


def _write(lm: LanguageModel, tokens: Sequence[str], folder: Path, seed: int) -> None:
    if lm.adapter is not None or not isinstance(lm.decoder, Decoder):
        what = "an adapter cannot hold them" if lm.adapter is not None else f"not to {lm.config.model_type!r}"
        raise InputError(f"new tokens are added to a whole model of a Llama-like architecture; {what}.")
    known = lm.tokenizer.get_vocab()
    if twice := [token for token in tokens if token in known]:
        raise InputError(f"{lm.name} knows the token {twice[0]} already; tune the model that it was made from.")
    folder.mkdir(parents=True, exist_ok=True)
    lm.save_tokenizer(folder)
    tokenizer = type(lm.tokenizer).from_pretrained(folder)
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    state = lm.decoder.state()
    rows = max(lm.decoder.spec.vocab, len(tokenizer))
    generator = torch.Generator().manual_seed(seed)
    grown = {name: _grown(state[name], rows, generator) for name in TABLES if name in state}
    wider = Decoder(replace(lm.decoder.spec, vocab=rows), {**state, **grown}, lm.decoder.dtype)
    config = copy.copy(lm.config)
    config.vocab_size = rows
    replace(lm, decoder=wider, config=config).save(folder)
    tokenizer.save_pretrained(folder)
    file = folder / GENERATION
    stored = json.loads(file.read_text()) if file.is_file() else {}
    never = sorted({*(stored.get("suppress_tokens") or ()), *tokenizer.convert_tokens_to_ids(list(tokens))})
    save_json(file, {**stored, "suppress_tokens": never})


def _grown(table: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """A table (V, d) with new rows, ``rows`` in all."""
    wide = table.float().cpu()
    more = torch.randn(rows - len(wide), wide.shape[1], generator=generator) * wide.std(0) + wide.mean(0)
    return torch.cat([wide, more]).to(table)
