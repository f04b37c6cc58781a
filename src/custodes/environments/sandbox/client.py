"""The host's side of a sandbox: asks its supervisor, and believes only the form of the answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from custodes.environments.sandbox.base import MB, CommandResult, FileState, Limits, SandboxFailure
from custodes.environments.sandbox.inside import tree
from custodes.environments.sandbox.inside.protocol import Channel

GRACE = 60.0  # seconds that a supervisor may take beyond the time of its command, before the sandbox counts as broken
SMALLEST_KERNEL = (5, 14)  # before it, the kernel counts a user's processes over all namespaces

# Commands that the warm Python may run in the shell's place: no character here has a meaning to the shell.
PLAIN_PYTHON = re.compile(r"python3((?: -m [\w.]+| [\w./][\w./-]*\.py)(?: [\w./,:=@%+-]+)*)")

BOOTSTRAP = """
import json, os, sys, types
def take(n):
    data = b""
    while len(data) < n:
        part = os.read(0, n - len(data))
        if not part:
            os._exit(1)
        data += part
    return data
if sys.version_info < (3, 9):
    sys.exit("Python inside the sandbox must be 3.9 or newer, and is " + sys.version.split()[0])
sources = json.loads(take(int(take(8))))
package = sys.modules["inside"] = types.ModuleType("inside")
package.__path__ = []
for name, text in sources.items():
    module = sys.modules["inside." + name] = types.ModuleType("inside." + name)
    module.__package__ = "inside"
    setattr(package, name, module)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
module.main()
"""


def sources(main: str) -> bytes:
    """What :data:`BOOTSTRAP` reads: the package ``inside``, each file before those that import it."""
    folder = resources.files("custodes.environments.sandbox") / "inside"
    names = ("kernel", "seccomp", "protocol", "tree", "isolation", "scripts", "supervisor", main)
    text = json.dumps({name: (folder / f"{name}.py").read_text("utf-8") for name in names}).encode()
    return b"%8d" % len(text) + text


class SupervisorClient:
    """A sandbox by its channel. Every method raises SandboxFailure when the sandbox is broken or gone."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self.connection, self.limits = connection, limits
        self.channel = Channel(connection)
        self.home: int | None = None  # a descriptor of the home folder, where the sandbox could send one

    def open(self, files: Mapping[str, bytes], dirs: Sequence[str] = (), read_only: Sequence[str] = ()) -> None:
        limits = {**asdict(self.limits), "nproc": _process_limit(self.limits)}
        header = {"do": "open", "limits": limits, "dirs": list(dirs), "files": list(files), "fixed": list(read_only)}
        _, _, fds = self.ask(header, list(files.values()))
        self.home = fds[0] if fds else None

    def run(self, command: str, seconds: float) -> CommandResult:
        """A command for the sandbox's shell."""
        return self._result({"do": "run", "seconds": seconds}, command, seconds)

    def once(self, command: str, seconds: float) -> CommandResult:
        """A command by itself."""
        plain = PLAIN_PYTHON.fullmatch(command)
        arguments = plain[1].split() if plain else None
        return self._result({"do": "once", "seconds": seconds, "arguments": arguments}, command, seconds)

    def snapshot(self) -> dict[str, FileState]:
        """Every path of the home, read from here; where that is not allowed, by the supervisor."""
        if self.home is not None:
            limits = self.limits.file_mb * MB, 2 * self.limits.disk_mb * MB
            with contextlib.suppress(PermissionError):  # a command has closed a path to its owner, who we are
                return {path: FileState(*state) for path, *state in tree.walk(self.home, *limits)}  # type: ignore[arg-type]
        header, blobs, _ = self.ask({"do": "snapshot"})
        contents = iter(blobs)
        return {
            path: FileState(kind, sha, size, mode, next(contents) if has else None, changed)
            for path, kind, sha, size, mode, has, changed in header["rows"]
        }

    def close(self) -> None:
        """Hang up, and wait until the supervisor has killed what lives in the sandbox and is gone itself."""
        if self.home is not None:
            os.close(self.home)
            self.home = None
        try:
            self.connection.settimeout(GRACE)
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(1 << 16):
                pass
        except OSError:
            pass
        self.connection.close()

    def ask(
        self, header: dict[str, Any], blobs: Sequence[bytes] = (), seconds: float = 0.0
    ) -> tuple[dict[str, Any], list[bytes], list[int]]:
        """A request and its answer."""
        limit = 4 * self.limits.disk_mb * MB + 4 * self.limits.output_bytes + MB
        try:
            _give_up_after(self.connection, seconds + GRACE)
            self.channel.send(header, blobs)
            answer = self.channel.receive(limit)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise SandboxFailure(f"the sandbox does not answer: {error or type(error).__name__}") from error
        if answer is None:
            raise SandboxFailure("the sandbox ended before it answered")
        if "error" in answer[0]:
            raise SandboxFailure(f"the sandbox failed: {answer[0]['error']}")
        return answer

    def _result(self, header: dict[str, Any], command: str, seconds: float) -> CommandResult:
        answer, (out, err), _ = self.ask(header, [command.encode("utf-8", "surrogateescape")], seconds)
        stderr = err.decode(errors="replace")
        if answer["note"]:
            stderr += ("\n" if stderr and not stderr.endswith("\n") else "") + f"[{answer['note']}]\n"
        return CommandResult(
            out.decode(errors="replace"),
            stderr,
            int(answer["returncode"]),
            bool(answer["timed_out"]),
            bool(answer["truncated"]),
            float(answer["seconds"]),
        )


def _process_limit(limits: Limits) -> int:
    """RLIMIT_NPROC for a sandbox: its processes and the supervisor. Old kernels count all the user's, elsewhere too."""
    release = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    if release >= SMALLEST_KERNEL:
        return limits.processes + 1
    others = subprocess.run(["ps", "-eLo", "pid="], capture_output=True, check=False).stdout.count(b"\n")
    return others + limits.processes + 1


def _give_up_after(connection: socket.socket, seconds: float) -> None:
    """A time limit that also holds for reads by descriptor."""
    whole = int(seconds)
    limit = whole.to_bytes(8, "little") + int(1e6 * (seconds - whole)).to_bytes(8, "little")  # struct timeval
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
