"""Tensors whose memory is a file: their pages need not stay in memory while the model is made of them.

Weights are read through a mapping of their file, checked, and copied where projections are fused. Without this, a process
would hold every weight twice at that moment.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

DONTNEED = 4  # of madvise(2)
PAGE = 4096


class MappedState(dict[str, Tensor]):
    """Tensors by name, as far as they stand in mappings of ``files``."""

    def __init__(self, tensors: dict[str, Tensor], files: Iterable[Path]) -> None:
        super().__init__(tensors)
        self.ranges = [places for file in files for places in _mapped_ranges(file)]

    def forget(self, tensors: Iterable[Tensor]) -> None:
        """Give back the pages of tensors that nobody wrote to; they are read from the file again where they are used.

        Only what lies in a mapping of the files is touched: the pages of other memory would be lost.
        """
        for tensor in tensors if self.ranges else ():
            start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size()
            first, last = -(-start // PAGE) * PAGE, end // PAGE * PAGE
            if first < last and any(low <= first and last <= high for low, high in self.ranges):
                ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), DONTNEED)


def _mapped_ranges(file: Path) -> list[tuple[int, int]]:
    """Addresses at which this process has mapped a file; none where the system does not tell."""
    if sys.platform != "linux":
        return []
    wanted, found = str(file.resolve()), list[tuple[int, int]]()
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *_, name = line.split(maxsplit=5)
        if name == wanted:
            low, high = place.split("-")
            found.append((int(low, 16), int(high, 16)))
    return found
