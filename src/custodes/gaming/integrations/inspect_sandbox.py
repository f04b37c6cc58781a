"""The project's sandbox as a sandbox provider of Inspect AI: ``sandbox="custodes"`` in any task.

A sample whose metadata has ``custodes`` (what :mod:`custodes.gaming.integrations.inspect_tasks` writes there) gets the
files of its variant; any other sample an empty home.
"""

from __future__ import annotations

import asyncio
import base64
import posixpath
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxUserUnsupportedError,
    sandboxenv,
)

from custodes.environments.sandbox import CommandResult, Limits, Sandbox, open_sandbox
from custodes.gaming.environment import open_variant
from custodes.gaming.staging import make_stage, stage_options
from custodes.gaming.variants import Stage, read_variant_id
from custodes.registry import stage

HOME = "/home/user"
CHUNK = 30_000  # bytes read at once: as text, a command's output holds them
LONGEST = 600.0  # seconds for a command that names no limit of its own
LARGEST = 100 << 20  # bytes of a file, as the protocol has it
USERS = (None, "user", "1000")


@sandboxenv(name="custodes")
class CustodesSandbox(SandboxEnvironment):
    """One home in bubblewrap (or Docker), with a shell."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox
        self.before = sandbox.snapshot()
        self._lock = threading.Lock()  # tools may call at once; a shell does one thing at a time

    # ------------------------------------------------------------ Inspect's protocol

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: dict[str, Any]) -> dict[str, SandboxEnvironment]:
        return {"default": await asyncio.to_thread(cls.open, metadata.get("custodes"))}

    @classmethod
    async def sample_cleanup(
        cls, task_name: str, config: Any, environments: dict[str, SandboxEnvironment], interrupted: bool
    ) -> None:
        for environment in environments.values():
            await asyncio.to_thread(environment.as_type(CustodesSandbox).sandbox.close)

    @classmethod
    def default_concurrency(cls) -> int | None:
        return 16

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a program. Nothing of the shell's state is kept; a ``timeout`` that passes is a TimeoutError."""
        if user not in USERS:
            raise SandboxUserUnsupportedError(f"a sandbox of custodes has one user, and it is not {user!r}.")
        settings = "".join(f"export {name}={shlex.quote(value)}; " for name, value in (env or {}).items())
        script = f"builtin cd -- {shlex.quote(_absolute(cwd or ''))} && {{ {settings}{shlex.join(cmd)}; }}"
        if input is None:
            script = f"( {script}; ) < /dev/null"
        else:
            data = input.encode() if isinstance(input, str) else input
            script = f"( {script}; ) < <({_bytes(data)}\n)"
        done = await asyncio.to_thread(self._run, script, float(timeout) if timeout else None)
        if done.timed_out and timeout:
            raise TimeoutError(f"the command took longer than {timeout} s")
        return ExecResult(done.returncode == 0, done.returncode, done.stdout, done.stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        path = _absolute(file)
        data = contents.encode() if isinstance(contents, str) else contents
        folder, name = shlex.quote(posixpath.dirname(path)), shlex.quote(path)
        script = f"/bin/mkdir -p -- {folder} && {_bytes(data, f'> {name}')}\n"
        done = await asyncio.to_thread(self._run, script)
        if done.returncode != 0:
            said = done.stderr.strip()
            raise (IsADirectoryError if "Is a directory" in said else PermissionError)(f"{file}: {said}")

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...
    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        data = await asyncio.to_thread(self._read, file)
        return data.decode() if text else data

    # ------------------------------------------------------------ the pieces

    @classmethod
    def open(cls, sample: Mapping[str, Any] | None) -> CustodesSandbox:
        """The sandbox of a sample, with the files of its variant where it has one."""
        if not sample:
            return cls(open_sandbox({}, limits=Limits(seconds=LONGEST)))
        variant = open_stage(sample).variant(*read_variant_id(sample["variant"]))
        return cls(open_variant(variant, bool(sample.get("read_only"))))

    def _run(self, script: str, seconds: float | None = None) -> CommandResult:
        with self._lock:
            return self.sandbox.run(script, seconds)

    def _read(self, file: str) -> bytes:
        path = shlex.quote(_absolute(file))
        kind = f"if [ -d {path} ]; then echo folder; elif [ -e {path} ]; then /usr/bin/stat -Lc %s -- {path}; else echo none; fi"
        found = self._run(kind).stdout.strip()
        if not found.isdigit():
            raise (IsADirectoryError if found == "folder" else FileNotFoundError)(file)
        size, parts = int(found), []
        if size > LARGEST:
            raise OutputLimitExceededError(f"{LARGEST >> 20} MiB", None)
        for start in range(1, size + 1, CHUNK):
            part = self._run(f"/usr/bin/tail -c +{start} -- {path} | /usr/bin/head -c {CHUNK} | /usr/bin/base64 -w0")
            if part.returncode != 0 or (part.stderr and not part.stdout):
                raise PermissionError(f"{file}: {part.stderr.strip()}")
            parts.append(base64.b64decode(part.stdout))
        return b"".join(parts)


def open_stage(sample: Mapping[str, Any]) -> Stage:
    """The stage of a sample's metadata, with the options that its task was made with; paths are text there."""
    name = sample["stage"]
    given = {option: sample[option] for option in stage_options([name], {}) if sample.get(option)}
    hints = get_type_hints(stage.find(name))
    return make_stage(name, {n: Path(v) if hints.get(n) == Path | None else v for n, v in given.items()})


def _absolute(path: str) -> str:
    return posixpath.normpath(posixpath.join(HOME, path.replace("~", HOME, 1) if path.startswith("~") else path))


def _bytes(data: bytes, to: str = "") -> str:
    """Shell code that writes these bytes, whatever they are; a line must end after it."""
    return f"/usr/bin/base64 -d {to} <<'END_OF_BYTES'\n{base64.b64encode(data).decode()}\nEND_OF_BYTES"
