"""Keys and values in pages: whatever begins alike is computed once and kept once.

A page holds 32 tokens and has a name made of these and of all tokens before them. A sequence is a list of pages; one
whose beginning has been computed before takes those pages over: the instructions that all tasks of an environment share,
the prompt that samples share, and everything that was said in a conversation when it goes on. Pages that no sequence
uses stay findable until their room is needed, longest unused first.

Letters: N tokens computed at once, L layers, G key-value heads, D head dimension, M pages of the longest sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from custodes.lm.decode import TILE, Stepper, StepWeights
from custodes.lm.decoder import Decoder
from custodes.lm.steps import Rotary, rms_norm, rotate


def page_bytes(decoder: Decoder) -> int:
    """Memory of one page."""
    spec = decoder.spec
    return 2 * spec.layers * spec.kv_heads * spec.head_dim * TILE * decoder.dtype.itemsize


class Pages:
    """Room for ``count`` pages of keys and values.

    With ``tiles`` (the compiled step) a page's keys are transposed, (D, 32); without, (32, D) as torch wants them.
    """

    def __init__(self, decoder: Decoder, count: int, tiles: bool) -> None:
        L, G, D = decoder.spec.layers, decoder.spec.kv_heads, decoder.spec.head_dim
        tile = (D, TILE) if tiles else (TILE, D)
        self.count, self.tiles = count, tiles
        # not zeros: memory that is never written is never held
        self.keys = torch.empty((L, count, G, *tile), dtype=decoder.dtype, device=decoder.device)
        self.values = torch.empty((L, count, G, TILE, D), dtype=decoder.dtype, device=decoder.device)
        self._users = [0] * count
        self._name: list[bytes] = [b""] * count
        self._named: dict[bytes, int] = {}
        self._unused: dict[int, None] = dict.fromkeys(range(count))  # longest unused first

    @property
    def free(self) -> int:
        """Pages that no sequence uses."""
        return len(self._unused)

    def find(self, names: Sequence[bytes]) -> list[int]:
        """Pages of as many of ``names``, from the first, as are still there."""
        found = []
        for name in names:
            if name not in self._named:
                break
            found.append(self._named[name])
        return found

    def share(self, pages: Sequence[int]) -> None:
        """One more sequence uses these."""
        for page in pages:
            self._unused.pop(page, None)
            self._users[page] += 1

    def take(self) -> int:
        """An unused page, what it held forgotten."""
        page = next(iter(self._unused))
        self._named.pop(self._name[page], None)
        self._name[page] = b""
        self.share([page])
        if not self.tiles:  # torch multiplies what a page does not hold yet by 0, and that must be a number
            self.keys[:, page], self.values[:, page] = 0, 0
        return page

    def name(self, page: int, name: bytes) -> None:
        """Let a page be found that holds, or is about to hold, the tokens of ``name``."""
        if name not in self._named:
            self._named[name], self._name[page] = page, name

    def release(self, pages: Sequence[int]) -> None:
        """One sequence less uses these. Its later pages make room before those that they build on."""
        for page in reversed(pages):
            self._users[page] -= 1
            if self._users[page] == 0:
                self._unused[page] = None


def page_names(ids: NDArray[np.int32], name: bytes = b"") -> Iterator[bytes]:
    """Names of the full pages of ``ids``, which come after what ``name`` stands for."""
    for start in range(0, len(ids) - TILE + 1, TILE):
        name = blake2b(name + ids[start : start + TILE].tobytes(), digest_size=16).digest()
        yield name


@dataclass(slots=True, eq=False)
class Places:
    """Where the N tokens of one pass belong: neighbours of one sequence form a run."""

    tables: Tensor  # (rows, M) int64: pages of each sequence that takes part
    rows: Tensor  # (N,) int64
    positions: Tensor  # (N,) int64
    runs: list[tuple[int, int]] = field(default_factory=list)  # (first, end) of each row's tokens, in order


def attend_pages(
    stepper: Stepper, pages: Pages, places: Places, index: int, weights: StepWeights, qkv: Tensor, rotary: Rotary
) -> Tensor:
    """Rotates, writes keys and values into pages, attends: qkv (N, (H + 2 G) D) -> (N, H D)."""
    spec, N = stepper.decoder.spec, len(qkv)
    H, G, D, eps = spec.heads, spec.kv_heads, spec.head_dim, spec.norm_eps
    norms = weights.norms.get("q_norm"), weights.norms.get("k_norm")
    layer = pages.keys[index], pages.values[index]
    if stepper.native is not None:
        out, where = qkv.new_empty((N, H * D)), (places.tables, places.rows, places.positions)
        stepper.native.paged_attend(qkv, rotary.cos, rotary.sin, norms, eps, layer, where, out, H)
        return out
    q, k, v = qkv.view(N, -1, D).split([H, G, G], dim=1)
    if norms[0] is not None and norms[1] is not None:
        q, k = rms_norm(q, norms[0], eps), rms_norm(k, norms[1], eps)
    q, k = rotate(q, rotary), rotate(k, rotary)
    page, at = places.tables[places.rows, places.positions // TILE], places.positions % TILE
    layer[0][page, :, at] = k
    layer[1][page, :, at] = v
    return _attend_by_torch(q, layer, places).reshape(N, H * D)


def _attend_by_torch(q: Tensor, layer: tuple[Tensor, Tensor], places: Places) -> Tensor:
    """q (N, H, D) -> (N, H, D): single tokens of many sequences in one call, each longer run in a call of its own."""
    H, D = q.shape[1:]
    G, mixed = layer[0].shape[1], torch.empty_like(q)
    single = [first for first, end in places.runs if end - first == 1]
    if single:
        tokens = torch.tensor(single, device=q.device)
        positions = places.positions[tokens]
        span = int(positions.max()) + 1
        keys, values = (_lines(x, places.tables[places.rows[tokens]], span) for x in layer)  # (B, G, span, D)
        seen = torch.arange(span, device=q.device) <= positions[:, None]
        grouped = q[tokens].reshape(len(single), G, H // G, D)  # heads that share keys become queries of one head
        out = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=seen[:, None, None])
        mixed[tokens] = out.reshape(len(single), H, D)
    for first, end in places.runs:
        if end - first == 1:
            continue
        positions = places.positions[first:end]
        span = int(positions[-1]) + 1
        keys, values = (_lines(x, places.tables[places.rows[first : first + 1]], span) for x in layer)
        seen = torch.arange(span, device=q.device) <= positions[:, None]
        out = F.scaled_dot_product_attention(
            q[None, first:end].transpose(1, 2), keys, values, attn_mask=seen, enable_gqa=G != H
        )
        mixed[first:end] = out[0].transpose(0, 1)
    return mixed


def _lines(x: Tensor, tables: Tensor, span: int) -> Tensor:
    """Pages (., G, 32, D) by tables (B, M) -> (B, G, span, D)."""
    B, G, D = len(tables), x.shape[1], x.shape[3]
    M = -(-span // TILE)
    return x[tables[:, :M]].transpose(1, 2).reshape(B, G, M * TILE, D)[:, :, :span]
