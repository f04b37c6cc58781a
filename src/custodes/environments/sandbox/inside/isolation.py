"""The isolation of one sandbox, built by its supervisor before anything untrusted runs, and what each child gives up.

Two ways to the same sandbox. ``Namespaces``: the supervisor is the first process of namespaces of its own, inside those of
bubblewrap, and mounts the sandbox's home. ``Container``: Docker has isolated it and mounted the home; the supervisor is
the container's root, the commands are another user.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Sequence
from typing import Any

from . import kernel, seccomp

USER = 1000
HOME = "/home/user"
MB = 1 << 20
HIDDEN = ("kcore", "keys", "key-users", "kallsyms", "kpagecount", "timer_list", "sysrq-trigger", "interrupts")
HIGH = 64  # descriptors from here on are in nobody's way
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD)  # what Python has changed
FILTER = seccomp.program(os.uname().machine)
ENVIRONMENT = {
    "HOME": HOME,
    "PWD": HOME,
    "USER": "user",
    "LOGNAME": "user",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PYTHONDONTWRITEBYTECODE": "1",  # no __pycache__ between what was there before and after
}


class Namespaces:
    """A sandbox in a fork server of bubblewrap's. Build it in the process that ``kernel.clone`` made."""

    def __init__(self) -> None:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{USER} {USER} 1")
        _write("/proc/self/gid_map", f"{USER} {USER} 1")

    def build(self, limits: dict[str, Any], dirs: Sequence[str], files: dict[str, bytes], fixed: Sequence[str]) -> int:
        """Mount and fill the home; a descriptor of it. ``fixed`` paths become read-only."""
        kernel.mount("none", "/", flags=kernel.REC | kernel.PRIVATE)
        size = f"mode=755,size={limits['disk_mb']}m,nr_inodes={256 * limits['disk_mb']}"
        kernel.mount("tmpfs", "/home", "tmpfs", kernel.NOSUID | kernel.NODEV, size)
        for name, target in (("user", HOME), ("tmp", "/tmp"), ("shm", "/dev/shm")):
            os.mkdir(f"/home/{name}")
            # A mount point cannot be renamed or removed, not even the home by its owner.
            kernel.mount(f"/home/{name}", target, flags=kernel.BIND)
        kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
        for name in HIDDEN:
            if os.path.exists(f"/proc/{name}"):
                kernel.mount("/dev/null", f"/proc/{name}", flags=kernel.BIND)
        _fill(dirs, files)
        for path in fixed:
            self._fix(path)
        kernel.bound_capabilities()
        # The supervisor keeps its capabilities, which are worth nothing outside this sandbox: nobody without them can
        # trace it, and it can open what a command has closed. Its memory is closed to the commands besides. They
        # are lost with the start of a program; the filter of calls, which the supervisor does not miss, is inherited.
        kernel.prctl(kernel.SET_DUMPABLE, 0)
        kernel.filter_calls(FILTER)
        return os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)

    def _fix(self, path: str) -> None:
        """Read-only, and every folder above it a mount point, so that none can be moved out of the way."""
        for above in _above(path):
            if not os.path.ismount(f"{HOME}/{above}"):
                kernel.mount(f"{HOME}/{above}", f"{HOME}/{above}", flags=kernel.BIND | kernel.REC)
        whole = f"{HOME}/{path}"
        kernel.mount(whole, whole, flags=kernel.BIND)
        flags = kernel.REMOUNT | kernel.BIND | kernel.RDONLY | kernel.NOSUID | kernel.NODEV
        kernel.mount("none", whole, flags=flags)

    def give_up_rights(self) -> None:
        kernel.drop_capabilities()
        kernel.prctl(kernel.SET_DUMPABLE, 1)  # an ordinary process may look at itself in /proc/self


class Container:
    """A sandbox that Docker has built: the supervisor is root, with just the rights to change owner and user and to kill."""

    def build(self, limits: dict[str, Any], dirs: Sequence[str], files: dict[str, bytes], fixed: Sequence[str]) -> int:
        _fill(dirs, files)
        held = set(fixed)
        for path in fixed:
            held.update(_above(path))
        for path in [*dirs, *files, *(a for p in (*dirs, *files) for a in _above(p))]:
            if not any(path == h or path.startswith(h + "/") for h in fixed):
                os.chown(f"{HOME}/{path}", -1 if path in held else USER, -1)
        # In a sticky folder of root's, a user can neither remove nor rename what is root's.
        for path in {"", *(a for p in fixed for a in _above(p))} if fixed else ():
            os.chmod(f"{HOME}/{path}", 0o1777)
        if not fixed:
            os.chown(HOME, USER, USER)
        return os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)

    def give_up_rights(self) -> None:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)  # the capabilities go with the user
        kernel.filter_calls(FILTER)


def confine(own: Namespaces | Container, limits: dict[str, Any], streams: Sequence[int]) -> None:
    """In a forked child of the supervisor: ``streams`` become its descriptors 0, 1, 2 ...; all other rights go."""
    os.setsid()
    # First out of the way of each other's numbers, then where they belong.
    for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for fd in streams]):
        os.dup2(fd, target)
    os.closerange(len(streams), 4096)
    for number in DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for name, most in ceilings(limits).items():
        resource.setrlimit(name, (most, most))
    own.give_up_rights()


def ceilings(limits: dict[str, Any]) -> dict[int, int]:
    """Resource limit -> its value, never above what the machine allows anyway."""
    wanted = {
        resource.RLIMIT_AS: limits["memory_mb"] * MB,
        resource.RLIMIT_NPROC: limits["nproc"],
        resource.RLIMIT_FSIZE: limits["file_mb"] * MB,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    hard = {name: resource.getrlimit(name)[1] for name in wanted}
    return {n: most if hard[n] == resource.RLIM_INFINITY else min(most, hard[n]) for n, most in wanted.items()}


def ulimit(limits: dict[str, Any]) -> str:
    """The same for bash, which sets them before it reads its first command."""
    flags = {
        resource.RLIMIT_AS: ("v", 1024),
        resource.RLIMIT_NPROC: ("u", 1),
        resource.RLIMIT_FSIZE: ("f", 1024),
        resource.RLIMIT_NOFILE: ("n", 1),
        resource.RLIMIT_CORE: ("c", 1),
        resource.RLIMIT_MEMLOCK: ("l", 1024),
        resource.RLIMIT_MSGQUEUE: ("q", 1),
    }
    most = ceilings(limits)
    return "ulimit " + " ".join(f"-{flag} {most[name] // unit}" for name, (flag, unit) in flags.items())


def _fill(dirs: Sequence[str], files: dict[str, bytes]) -> None:
    for path in [*dirs, *(os.path.dirname(p) for p in files)]:
        os.makedirs(f"{HOME}/{path}", mode=0o755, exist_ok=True)
    for path, content in files.items():
        with open(f"{HOME}/{path}", "wb") as file:
            file.write(content)


def _above(path: str) -> list[str]:
    """The folders that a relative path lies in, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
