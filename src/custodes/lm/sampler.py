"""Drawing tokens from logits in one pass, with random numbers that belong to the request.

``torch.multinomial`` over a full vocabulary takes as long as the rest of a decoding step. Here one
uniform number per token inverts the distribution function in two levels (blocks of tokens, then
tokens of a block), and the log-probability falls out of the same pass. The uniform number is a hash
of (request, step): whichever other requests share the batch, a request meets the same numbers.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.kernels import Native

BLOCK = 256


def stream(seed: int, prompt: bytes, sample: int) -> int:
    """The 64-bit key of one request's random numbers."""
    digest = hashlib.blake2b(prompt, digest_size=8, key=f"{seed}:{sample}".encode()[:64])
    return int.from_bytes(digest.digest(), "little")


def uniforms(streams: NDArray[np.uint64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B,) numbers in [0, 1): SplitMix64 (Steele, Lea and Flood 2014) of each stream at its step."""
    with np.errstate(over="ignore"):
        z = streams + (steps.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_tokens(
    logits: Tensor,
    uniform: NDArray[np.float64],
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    native: Native | None = None,
) -> tuple[Tensor, Tensor]:
    """One token per row of ``logits`` (B, V): tokens (B,) int64 and their log-probabilities (B,) float32, nats.

    The log-probabilities are those of the distribution that was drawn from: at the temperature, and
    renormalised on the tokens that top-k and top-p keep. Temperature 0 takes the most likely token
    and reports its log-probability at temperature 1.
    """
    if temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, _logprob(logits.float(), tokens)
    if top_k or top_p < 1:
        kept, index = _truncate(logits.float() / temperature, top_k, top_p)
        chosen, logprobs = _invert(kept, uniform)
        return index.gather(-1, chosen[:, None]).squeeze(-1), logprobs
    if native is not None and logits.dtype == native.dtype:
        tokens = torch.empty(len(logits), dtype=torch.int64)
        logprobs = torch.empty(len(logits))
        native.draw(logits.contiguous(), torch.from_numpy(uniform), temperature, tokens, logprobs)
        return tokens, logprobs
    return _invert(logits.float() / temperature, uniform)


def _invert(scaled: Tensor, uniform: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Two-level inversion of softmax(scaled) at ``uniform``."""
    B, V = scaled.shape
    p = (scaled - scaled.amax(-1, keepdim=True)).exp_()
    if V % BLOCK:
        p = torch.nn.functional.pad(p, (0, BLOCK - V % BLOCK))
    p = p.view(B, -1, BLOCK)
    below = p.sum(-1).double().cumsum(-1)  # (B, blocks)
    target = torch.from_numpy(uniform).to(below.device)[:, None] * below[:, -1:]
    block = torch.minimum((below <= target).sum(-1), (below < below[:, -1:]).sum(-1))  # not beyond the last possible
    rows = torch.arange(B, device=p.device)
    rest = target.squeeze(-1) - torch.where(block > 0, below[rows, block - 1], 0.0)
    inner = p[rows, block].double()
    within = (inner.cumsum(-1) <= rest[:, None]).sum(-1)
    last_possible = BLOCK - 1 - (inner > 0).flip(-1).int().argmax(-1)  # rounding must not pick an impossible token
    tokens = block * BLOCK + torch.minimum(within, last_possible)
    return tokens, _logprob(scaled, tokens)


def _truncate(scaled: Tensor, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Kept logits in falling order with -inf where dropped, and the token of each column."""
    kept, index = scaled.topk(min(top_k, scaled.shape[-1]) if top_k else scaled.shape[-1], dim=-1)
    if top_p < 1:
        p = kept.softmax(-1)
        kept = kept.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)  # the token that crosses p stays
    return kept, index


def _logprob(scaled: Tensor, tokens: Tensor) -> Tensor:
    return scaled.gather(-1, tokens[:, None]).squeeze(-1) - scaled.logsumexp(-1)
