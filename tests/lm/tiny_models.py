"""Tiny random models of several architectures, each beside what ``transformers`` makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True}),
    "llama-untied-biased": ("Llama", {"tie_word_embeddings": False, "attention_bias": True}),
    "llama-llama3-rope": ("Llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear-rope": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    ),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 16}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": False}),
}
"""Name -> architecture of the fast path and what its configuration changes."""


def write_model(folder: Path, tokenizer: Path, architecture: str = "Llama", **changes: Any) -> Any:
    """Write a random model of an architecture, with the tokenizer of another folder; returns transformers' model.

    Every parameter is drawn, biases and norms too, so that a forgotten one shows.
    """
    config = getattr(transformers, f"{architecture}Config")(**SIZES | changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            torch.nn.init.normal_(parameter, centre, 0.2)
    model.save_pretrained(folder)
    for file in tokenizer.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)
    return model


def sequences(*lengths: int, seed: int = 0, start: Sequence[int] = ()) -> list[np.ndarray]:
    """Random token ids, each sequence beginning with ``start``."""
    rng = np.random.default_rng(seed)
    return [np.asarray([*start, *rng.integers(2, 256, n)], np.int32) for n in lengths]


def reference_logits(model: Any, ids: np.ndarray) -> Tensor:
    """(T, V) by transformers, one sequence alone."""
    return model(torch.from_numpy(ids).long()[None]).logits[0]
