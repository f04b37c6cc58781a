"""The few system calls that Python does not hand on. Each raises OSError with what was attempted."""

from __future__ import annotations

import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)

# linux/sched.h. Network, IPC and host name stay bubblewrap's: new ones cost more than all else together, their
# removal waits for the kernel's slowest clean-up, and the calls that would use them are forbidden in a sandbox.
NEWNS, NEWUSER, NEWPID = 0x20000, 0x10000000, 0x20000000
NEW_NAMESPACES = NEWNS | NEWUSER | NEWPID
CLONE = {"x86_64": 56, "aarch64": 220}

# linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18

# linux/prctl.h
SET_DUMPABLE, CAPBSET_DROP, SET_NO_NEW_PRIVS, SET_SECCOMP, SECCOMP_MODE_FILTER = 4, 24, 38, 22, 2
LAST_CAP = 63  # dropping one that the kernel does not know is an error that means nothing


class _Filter(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def clone(flags: int = NEW_NAMESPACES) -> int:
    """``fork`` into new namespaces, in one step: the child is their first process. Returns as ``os.fork`` does."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = libc.syscall(CLONE[os.uname().machine], flags | signal.SIGCHLD, 0, 0, 0, 0)
    error = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"new namespaces: {os.strerror(error)}")
    return int(pid)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    texts = [None if t is None else os.fsencode(t) for t in (source, target, kind, data)]
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {kind or source} on {target}: {os.strerror(error)}")


def prctl(option: int, value: int, pointer: object = None) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")


def bound_capabilities() -> None:
    """No program started from here on can gain a capability."""
    for capability in range(LAST_CAP):
        if libc.prctl(CAPBSET_DROP, capability, 0, 0, 0):
            break


def drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        error = ctypes.get_errno()
        raise OSError(error, f"capset: {os.strerror(error)}")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter, for good."""
    prctl(SET_NO_NEW_PRIVS, 1)
    prctl(SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_Filter(len(program) // 8, program)))
