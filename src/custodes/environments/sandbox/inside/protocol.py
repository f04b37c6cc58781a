"""Frames between the host and the supervisor of a sandbox: a header of plain JSON, then bytes; file descriptors beside.

JSON, because the host must be able to read what comes out of a sandbox without trusting it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

PREFIX = struct.Struct("=I")
Header = dict[str, Any]


class Channel:
    """One end of a stream: a socket, or a pair of pipes (which carry no descriptors)."""

    def __init__(self, reads: int | socket.socket, writes: int | None = None) -> None:
        self.sock = reads if isinstance(reads, socket.socket) else None
        self.reads = reads.fileno() if isinstance(reads, socket.socket) else reads
        self.writes = self.reads if writes is None else writes

    def send(self, header: Header, blobs: Sequence[bytes] = (), fds: Sequence[int] = ()) -> None:
        text = json.dumps({**header, "blobs": [len(b) for b in blobs]}).encode()
        whole = memoryview(b"".join((PREFIX.pack(len(text)), text, *blobs)))
        if fds and self.sock:
            whole = whole[socket.send_fds(self.sock, [whole], list(fds)) :]
        while whole:
            whole = whole[os.write(self.writes, whole) :]

    def receive(self, limit: int = 1 << 32) -> tuple[Header, list[bytes], list[int]] | None:
        """Header, blobs, descriptors; None at the end of the stream. Raises ValueError for more than ``limit`` bytes."""
        fds: list[int] = []
        if self.sock:
            prefix, fds, _, _ = socket.recv_fds(self.sock, PREFIX.size, 1)
            for fd in fds:
                os.set_inheritable(fd, False)  # what comes by a socket is, unlike all that Python opens itself
        else:
            prefix = os.read(self.reads, PREFIX.size)
        if not prefix:
            return None
        prefix += self._exactly(PREFIX.size - len(prefix))
        size = PREFIX.unpack(prefix)[0]
        if size > limit:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(self._exactly(size))
        sizes = header.pop("blobs")
        if sum(sizes) > limit:
            raise ValueError(f"a frame of {sum(sizes)} bytes")
        return header, [self._exactly(n) for n in sizes], fds

    def _exactly(self, n: int) -> bytes:
        parts = []
        while n:
            part = os.read(self.reads, min(n, 1 << 20))
            if not part:
                raise EOFError("the other end is gone")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)
