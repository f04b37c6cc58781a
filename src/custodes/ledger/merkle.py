"""The Merkle tree over the hashes of rows: a single row is shown to belong to a head without the others (RFC 9162, section 2.1).

Leaf i is the hash of row i + 1. A leaf is hashed after a byte 0, a pair of nodes after a byte 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence


def merkle_roots(hashes: Iterable[str], sizes: Collection[int]) -> dict[int, str]:
    """Size -> root of the tree over so many of ``hashes`` (hexadecimal), for those ``sizes`` (from 1) that there are."""
    peaks: list[tuple[int, bytes]] = []  # (leaves, root) of the perfect trees that stand side by side
    found = {}
    for count, hash in enumerate(hashes, 1):
        size, node = 1, _leaf(hash)
        while peaks and peaks[-1][0] == size:
            size, node = 2 * size, _node(peaks.pop()[1], node)
        peaks.append((size, node))
        if count in sizes:
            root = peaks[-1][1]
            for _, left in reversed(peaks[:-1]):
                root = _node(left, root)
            found[count] = root.hex()
    return found


def merkle_path(hashes: Sequence[str], index: int) -> list[str]:
    """What is hashed with leaf ``index``, from the leaf up to the root: about log2(n) hashes, hexadecimal."""
    if len(hashes) == 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    left, right = hashes[:split], hashes[split:]
    own, other, place = (left, right, index) if index < split else (right, left, index - split)
    return [*merkle_path(own, place), merkle_roots(other, [len(other)])[len(other)]]


def root_of_path(hash: str, index: int, size: int, path: Sequence[str]) -> str | None:
    """The root that leaf ``index`` of ``size`` gives by its path; None for a path that does not fit."""
    if not 0 <= index < size:
        return None
    place, last, node = index, size - 1, _leaf(hash)
    for other in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = _node(bytes.fromhex(other), node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = _node(node, bytes.fromhex(other))
        place, last = place >> 1, last >> 1
    return node.hex() if last == 0 else None


def _leaf(hash: str) -> bytes:
    return hashlib.sha256(b"\0" + bytes.fromhex(hash)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
