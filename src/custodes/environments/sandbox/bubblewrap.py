"""Sandboxes of bubblewrap: one fork server for the whole process, isolated, and namespaces in it for every home.

Two layers: bubblewrap hides the host (no network, no files but the system's programs, read-only, no rights, an
environment of its own); namespaces within it hide the sandboxes from each other. Whoever broke out of a sandbox would be in
an empty, read-only place as a user without rights.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from custodes.environments.sandbox.base import HOME, Limits, SandboxFailure
from custodes.environments.sandbox.client import BOOTSTRAP, SupervisorClient, sources
from custodes.environments.sandbox.inside.protocol import Channel
from custodes.types import InputError

PATH = "/usr/local/bin:/usr/bin:/bin"
INSTALL = "sudo apt-get install bubblewrap"
START = 180.0  # seconds for a start that takes 0.2 on an idle machine
DEVICES = ("null", "zero", "full", "random", "urandom")
# What programs need of /etc to start; nothing that names the host, its users or its network.
ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d")
PASSWD = (
    f"root:x:0:0::/:/usr/sbin/nologin\nuser:x:1000:1000::{HOME}:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
)
GROUP = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"
SUPERVISOR = "/supervisor"  # the program of the first process, by a name that says so in a list of processes
FIRST_USER = 64000  # root's sandboxes run as a user that owns nothing; one per process, so that limits are its own


def open_isolated(limits: Limits) -> SupervisorClient:
    """A sandbox in the fork server of this process."""
    return SupervisorClient(_fork_server().connect(), limits)


# ---------------------------------------------------------------- the fork server


class _ForkServer:
    """bubblewrap with a warm Python inside. Raises InputError where the machine does not allow it."""

    def __init__(self) -> None:
        program = shutil.which("bwrap")
        if not program:
            raise InputError(
                f"bubblewrap (bwrap) is not installed, and commands never run outside a sandbox: {INSTALL}"
            )
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._socket, inner = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the fork server)
        self.process: subprocess.Popen[bytes] | None = None
        started = threading.Event()
        # bubblewrap dies with the thread that started it, so it is a thread that lives as long as the process.
        self._thread = threading.Thread(target=self._keep, args=(program, inner, started), daemon=True)
        self._thread.start()
        started.wait()
        inner.close()
        try:
            if self.process is None:
                raise OSError("it could not be started")
            self._socket.sendall(sources("fork_server"))
            self._socket.settimeout(START)
            if Channel(self._socket).receive() is None:
                raise EOFError
        except (OSError, EOFError) as error:
            self._errors.seek(0)
            said = self._errors.read(2000).decode(errors="replace").strip() or str(error) or "it ended without a word"
            self.close()
            raise InputError(_refusal(said)) from None
        self._socket.settimeout(None)

    def alive(self) -> bool:
        return self.pid == os.getpid() and self.process is not None and self.process.poll() is None

    def connect(self) -> socket.socket:
        """A connection to the supervisor of a new sandbox."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            try:
                socket.send_fds(self._socket, [b"r"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise SandboxFailure(f"bubblewrap ended: {error}") from error
        return ours

    def close(self) -> None:
        """End the fork server and, with it, every sandbox."""
        self._socket.close()
        if self.pid == os.getpid() and self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def _keep(self, program: str, inner: socket.socket, started: threading.Event) -> None:
        user = FIRST_USER + os.getpid() % 1000 if os.geteuid() == 0 else None
        try:
            with _system_files() as files:
                self.process = subprocess.Popen(
                    [program, *_arguments(files)],
                    stdin=inner.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=tuple(files.values()),
                    cwd="/",
                    env={},
                    user=user,
                    group=user,
                    extra_groups=None if user is None else [],
                )
        except OSError as error:
            self._errors.write(str(error).encode())
        finally:
            started.set()
        if self.process is not None:
            self.process.wait()


_current: _ForkServer | None = None
_guard = threading.Lock()


def _fork_server() -> _ForkServer:
    """This process's fork server, started when it is first needed and again when it has died."""
    global _current
    with _guard:
        if _current is None or not _current.alive():
            _current = _ForkServer()
            atexit.register(_current.close)
        return _current


# ---------------------------------------------------------------- bubblewrap's arguments


def _arguments(files: Mapping[str, int]) -> list[str]:
    """bubblewrap's arguments, program included; ``files``: path inside -> descriptor to read its contents from."""
    python, python_folder = _python()
    path = PATH if python_folder is None else f"/opt/python/bin:{PATH}"
    return [
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv", "--as-pid-1"),
        *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
        *("--setenv", "PATH", path, "--setenv", "LANG", "C.UTF-8", "--setenv", "HOME", HOME),
        *_system(),
        *(() if python_folder is None else ("--ro-bind", python_folder, "/opt/python")),
        *(
            part
            for name in ETC
            if Path("/etc", name).exists()
            for part in ("--ro-bind", f"/etc/{name}", f"/etc/{name}")
        ),
        *(part for name, fd in files.items() for part in ("--ro-bind-data", str(fd), name)),
        *(part for folder in ("/dev/shm", HOME, "/tmp", "/proc") for part in ("--dir", folder)),
        *("--proc", "/proc"),
        *(part for name in DEVICES for part in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--symlink", "/proc/self/fd", "/dev/fd"),
        *(
            part
            for i, name in enumerate(("stdin", "stdout", "stderr"))
            for part in ("--symlink", f"/proc/self/fd/{i}", f"/dev/{name}")
        ),
        *("--remount-ro", "/", "--chdir", "/", "--", python, "-I", SUPERVISOR),
    ]


def _system() -> list[str]:
    """The system's programs and libraries, read-only: /usr, and the folders beside it, which are often links into it."""
    found = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            found += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            found += ["--ro-bind", str(path), str(path)]
    return found


def _python() -> tuple[str, str | None]:
    """The interpreter inside; and, where the system has none, the folder of ours to mount at /opt/python."""
    if system := shutil.which("python3", path=PATH):
        return system, None
    return "/opt/python/bin/python3", sys.base_prefix


@contextmanager
def _system_files() -> Iterator[dict[str, int]]:
    """Path inside -> a pipe with its contents, closed after the block."""
    fds = {}
    for path, text in (("/etc/passwd", PASSWD), ("/etc/group", GROUP), (SUPERVISOR, BOOTSTRAP)):
        fds[path], end = os.pipe()
        os.write(end, text.encode())
        os.close(end)
    try:
        yield fds
    finally:
        for fd in fds.values():
            os.close(fd)


def _refusal(said: str) -> str:
    """Why bubblewrap does not work here, and what helps."""
    line = said.splitlines()[-1]
    if re.search("namespace|not permitted|uid map", said, re.IGNORECASE):
        restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        switch = "user.max_user_namespaces=10000"
        if Path("/proc/sys/kernel/unprivileged_userns_clone").exists():
            switch = "kernel.unprivileged_userns_clone=1"
        if restricted.exists() and restricted.read_text().strip() == "1":
            switch = "kernel.apparmor_restrict_unprivileged_userns=0"
        return (
            f"bubblewrap cannot make user namespaces here ({line}), and commands never run outside a sandbox; "
            f"the kernel may allow it after: sudo sysctl -w {switch}"
        )
    return (
        f"bubblewrap does not start ({line}), and commands never run outside a sandbox; to install it anew: {INSTALL}"
    )
