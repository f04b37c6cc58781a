"""The filter as the kernel would run it: every instruction interpreted, for both machines, whichever this one is."""

from __future__ import annotations

import re
import struct
from functools import cache
from pathlib import Path

import pytest

from custodes.environments.sandbox.inside.seccomp import ALLOW, AUDIT_ARCH, DENIED, ERRNO, KILL, program

EPERM, ENOSYS, EAFNOSUPPORT = ERRNO | 1, ERRNO | 38, ERRNO | 97
MACHINES = {"x86_64": 0, "aarch64": 1}
CALLS = {  # name: (x86_64, aarch64)
    "read": (0, 63), "execve": (59, 221), "openat": (257, 56), "exit_group": (231, 94), "mmap": (9, 222),
    "clone": (56, 220), "clone3": (435, 435), "ioctl": (16, 29), "socket": (41, 198), "socketpair": (53, 199),
    "setsockopt": (54, 208), "futex": (202, 98), "pidfd_open": (434, 434), "seccomp": (317, 277),
}  # fmt: skip


@cache
def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program(machine)))


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter returns for a call; an endless or wild program fails."""
    six = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, AUDIT_ARCH[machine] if arch is None else arch, 0, *six)
    code = instructions(machine)
    at = accumulator = 0
    for _ in range(len(code)):
        kind, yes, no, k = code[at]
        at += 1
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif kind == 0x06:
            return k
        else:
            true = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[
                kind
            ]
            at += yes if true else no
    raise AssertionError("the program does not return")


def call(machine: str, name: str) -> int:
    return CALLS[name][MACHINES[machine]]


@pytest.mark.parametrize("machine", MACHINES)
def test_forbidden_calls_are_refused_and_all_others_pass(machine: str):
    denied = {numbers[MACHINES[machine]] for numbers in DENIED.values()} - {None}
    special = {call(machine, name) for name in ("clone", "clone3", "ioctl", "socket", "socketpair", "setsockopt")}
    for number in range(451):
        if number not in special:
            assert verdict(machine, number) == (EPERM if number in denied else ALLOW), number
    for number in (451, 452, 500, 5000, 0x3FFFFFFF):
        assert verdict(machine, number) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_processes_and_threads_but_no_namespace(machine: str):
    thread = 0x3D0F00  # what pthread_create asks for
    for flags in (17, thread, 0x4111 | 17):
        assert verdict(machine, call(machine, "clone"), flags) == ALLOW
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, call(machine, "clone"), namespace | 17) == EPERM
    assert verdict(machine, call(machine, "clone3")) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_are_nameless_pairs(machine: str):
    for family in range(50):
        assert verdict(machine, call(machine, "socket"), family) == EAFNOSUPPORT
        assert verdict(machine, call(machine, "socketpair"), family) == (ALLOW if family == 1 else EAFNOSUPPORT)
    assert verdict(machine, call(machine, "setsockopt"), 3, 1, 16) == EPERM
    assert verdict(machine, call(machine, "setsockopt"), 3, 1, 76) == EPERM
    assert verdict(machine, call(machine, "setsockopt"), 3, 1, 7) == ALLOW
    assert verdict(machine, call(machine, "setsockopt"), 3, 6, 16) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_terminals_are_not_typed_into(machine: str):
    assert verdict(machine, call(machine, "ioctl"), 0, 0x5412) == EPERM
    assert verdict(machine, call(machine, "ioctl"), 0, 0x541C) == EPERM
    assert verdict(machine, call(machine, "ioctl"), 0, (1 << 32) | 0x5412) == EPERM  # the kernel reads the low half too
    assert verdict(machine, call(machine, "ioctl"), 0, 0x5413) == ALLOW


def test_other_numberings_of_the_calls_are_killed():
    assert verdict("x86_64", 39, arch=0x40000003) == KILL  # i386
    assert verdict("x86_64", 39 | 0x40000000) == KILL  # x32
    assert verdict("aarch64", 172, arch=0x40000028) == KILL  # 32-bit arm


def test_numbers_are_those_of_the_kernel():
    """Against the kernel's own headers, where they are installed."""
    headers = {
        "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        "aarch64": Path("/usr/include/asm-generic/unistd.h"),
    }
    if not all(path.exists() for path in headers.values()):
        pytest.skip("linux-libc-dev is not installed")
    for machine, path in headers.items():
        known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text()))
        for name, numbers in {**DENIED, **CALLS}.items():
            number = numbers[MACHINES[machine]]
            if name in known:
                assert number == int(known[name]), (machine, name)
            else:
                assert number is None or machine == "x86_64", (machine, name)
