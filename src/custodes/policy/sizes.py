"""What fits: micro-batches by the memory that there is, and a learning rate by the size of the model."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from custodes.lm.loading import LanguageModel

MICRO_TOKENS = 2048
"""Tokens of a micro-batch where memory is no question; more make nothing faster."""
SHARE = 0.25
"""Of the memory that a micro-batch's activations may take."""


def micro_tokens_for(lm: LanguageModel) -> int:
    """Tokens of a micro-batch whose activations take at most a quarter of the memory: 2048, halved as often as needed.

    In the layers that learn, a token leaves about 8 vectors of the hidden size and 4 of the feed-forward size behind for the
    backward pass. Measured on SmolLM2-135M in bfloat16 between 1,024 and 4,096 tokens: 18.5 to 19.3 kB a layer, where this
    says 21.5.
    """
    spec, tokens = lm.decoder.spec, MICRO_TOKENS
    learns = spec.layers - (lm.adapter.first_layer if lm.adapter is not None else 0)
    left_behind = learns * (8 * spec.hidden + 4 * spec.intermediate) * lm.decoder.dtype.itemsize  # bytes of a token
    while tokens > 256 and tokens * left_behind > SHARE * total_memory(lm.decoder.device):
        tokens //= 2
    return tokens


def learning_rate_for(lm: LanguageModel) -> float:
    """4e-4 for adapters of models below half a billion weights, 1e-4 up to 4 billion, 5e-5 above; full weights: a fortieth.

    The first is the quickstart's. The others follow the custom that larger models take smaller steps; nobody measured them
    here.
    """
    weights = sum(t.numel() for t in lm.decoder.state().values())
    rate = 4e-4 if weights < 5e8 else 1e-4 if weights < 4e9 else 5e-5
    return rate if lm.adapter is not None else rate / 40


def total_memory(device: torch.device) -> int:
    """Bytes of a device; of this machine, what the process is allowed."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.is_file() else ""
    return min(physical, int(allowed)) if allowed.isdigit() else physical
