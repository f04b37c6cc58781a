"""A small transformer that reads code in both directions, over the states of a language model's lower layers.

A language model reads from left to right: at a line it cannot know what follows, and a bug is often plain only from
there. Its lower layers say what each token means; this reader, some three per cent of the model, lets every token see all
others. What a token's state was expected to be stands in the state before it, so that one is read too.

Letters: N tokens of a packed batch, d hidden size of the language model, h width of the reader, H heads, D = 64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custodes.lm.packing import FromRows, PackedBatch, ToRows
from custodes.lm.steps import Rotary, rms_norm, rotate, swiglu

HEAD = 64  # channels of an attention head
EPS = 1e-5
RARE = -2.0  # logit with which every line begins: few lines are wrong


class CodeReader(nn.Module):
    """States (N, d) of a packed batch without shared prefixes -> (N, h), each token having seen its whole sequence.

    ``line`` and ``kind`` read what comes out: one logit for "wrong here", and one for each kind of bug.
    """

    def __init__(self, inputs: int, width: int, layers: int, kinds: int, seed: int = 0) -> None:
        """Raises ValueError where ``width`` is no multiple of 64."""
        if width % HEAD:
            raise ValueError(f"a reader of width {width}: it must be a multiple of {HEAD}.")
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.norm_in = nn.Parameter(torch.ones(inputs))
            self.project = nn.Linear(2 * inputs, width, bias=False)
            self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
            self.norm_out = nn.Parameter(torch.ones(width))
            self.line = nn.Linear(width, 1)
            self.kind = nn.Linear(width, kinds)
        nn.init.zeros_(self.line.weight)
        nn.init.constant_(self.line.bias, RARE)

    def forward(self, states: Tensor, batch: PackedBatch) -> Tensor:
        own = rms_norm(states.float(), self.norm_in, EPS)
        before = torch.where(batch.positions[:, None] == 0, 0.0, own.roll(1, 0))
        x = self.project(torch.cat([own, before], -1))
        angles = batch.positions[:, None] / 10_000.0 ** (torch.arange(0, HEAD, 2, device=x.device) / HEAD)
        angles = torch.cat([angles, angles], -1)[:, None]
        rotary = Rotary(angles.cos(), angles.sin())
        for layer in self.layers:
            x = layer(x, batch, rotary)
        return rms_norm(x, self.norm_out, EPS)


class _Layer(nn.Module):
    """Attention over the whole sequence, then a gated feed-forward step; both begin as nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 32 * (width // 12)
        self.norm1, self.norm2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, batch: PackedBatch, rotary: Rotary) -> Tensor:
        q, k, v = self.qkv(rms_norm(x, self.norm1, EPS)).view(len(x), 3, -1, HEAD).unbind(1)
        x = x + self.out(_attend(rotate(q, rotary), rotate(k, rotary), v, batch).flatten(1))
        return x + self.down(swiglu(self.gate_up(rms_norm(x, self.norm2, EPS))))


def _attend(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over all tokens of each sequence; (N, H, D) each."""
    lengths = batch.positions[batch.last] + 1
    mixed, row = [], 0
    for block in batch.blocks:
        tokens = slice(block.start, block.end)
        rows_q, rows_k, rows_v = (ToRows.apply(t[tokens], block).transpose(1, 2) for t in (q, k, v))
        R, T = block.rows.shape
        beyond = torch.arange(T, device=q.device) >= lengths[row : row + R, None]
        row += R
        scores = (rows_q @ rows_k.mT).mul(HEAD**-0.5).masked_fill(beyond[:, None, None], -torch.inf)
        mixed.append(FromRows.apply((F.softmax(scores, -1) @ rows_v).transpose(1, 2), block))
    return torch.cat(mixed)
