"""The system calls that a model's commands may not make, as a classic BPF program of the kernel's seccomp filter.

A list of what is forbidden, not of what is allowed: the namespaces are the wall, this is the moat. It takes away
what has broken such walls before (namespaces in namespaces, BPF, io_uring, userfaultfd, keyrings), what reaches
other processes, memory that no limit counts (System V shared memory, memfd), and every socket but nameless pairs.
A call newer than the table does not exist here. Numbers: ``arch/x86/entry/syscalls/syscall_64.tbl``, ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

import struct

EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64); None where the machine never had it
DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "move_pages": (279, 239), "migrate_pages": (256, 238),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # wide doors into the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "personality": (135, 92), "modify_ldt": (154, None), "uselib": (134, None),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "_sysctl": (156, None),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "create_module": (174, None), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "get_kernel_syms": (177, None), "query_module": (178, None),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "ioperm": (173, None), "iopl": (172, None), "vhangup": (153, 58),
    # names for sockets: sandboxes share a network namespace, which is empty, and shall not find each other in it
    "bind": (49, 200), "connect": (42, 203), "listen": (50, 201),
    # memory that no limit of ours counts, or that moves other processes' pages
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "shmdt": (67, 197), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mbind": (237, 235), "get_mempolicy": (239, 236), "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
}  # fmt: skip
CLONE, CLONE3, IOCTL = (56, 220), (435, 435), (16, 29)
SOCKET, SOCKETPAIR, SETSOCKOPT = (41, 198), (53, 199), (54, 208)
NEWEST = 450
X32 = 0x40000000  # the x86_64 kernel's second numbering of the same calls

NEW_NAMESPACES = 0x7E020000  # cgroup, uts, ipc, user, pid, net, mount
TERMINAL_IOCTLS = (0x5412, 0x541C)  # TIOCSTI types into a terminal, TIOCLINUX pastes into a console
AF_UNIX, SOL_SOCKET = 1, 1
NAMING_OPTIONS = (16, 76)  # SO_PASSCRED, SO_PASSPIDFD: the kernel names a socket that asks for its peer's credentials

LOAD, JEQ, JGT, JGE, JSET, RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCH = 0, 4  # offsets in struct seccomp_data


def program(machine: str) -> bytes:
    """The filter for ``platform.machine()``, an array of ``struct sock_filter``. Raises KeyError for other machines."""
    column = 0 if machine == "x86_64" else 1
    lines: list[tuple[str | None, int, int, str | None, str | None]] = []  # label, code, k, where if true, if false

    def add(code: int, k: int, yes: str | None = None, no: str | None = None, label: str | None = None) -> None:
        lines.append((label, code, k, yes, no))

    add(LOAD, ARCH)
    add(JEQ, AUDIT_ARCH[machine], None, "kill")
    add(LOAD, NUMBER)
    if machine == "x86_64":
        add(JGE, X32, "kill")
    for numbers, target in ((CLONE, "clone"), (IOCTL, "ioctl"), (SOCKETPAIR, "pair"), (SETSOCKOPT, "option")):
        add(JEQ, numbers[column], target)
    add(JEQ, SOCKET[column], "family")
    add(JEQ, CLONE3[column], "absent")  # glibc then falls back to clone, whose flags can be read here
    add(JGT, NEWEST, "absent")
    for both in DENIED.values():
        number = both[column]
        if number is not None:
            add(JEQ, number, "deny")
    add(RETURN, ALLOW)
    add(RETURN, ERRNO | EPERM, label="deny")
    add(RETURN, ERRNO | ENOSYS, label="absent")
    add(RETURN, ERRNO | EAFNOSUPPORT, label="family")
    add(RETURN, KILL, label="kill")
    add(LOAD, _argument(0), label="clone")
    add(JSET, NEW_NAMESPACES, "forbidden", "allowed")
    add(LOAD, _argument(0), label="pair")
    add(JEQ, AF_UNIX, "allowed", "unknown")
    add(LOAD, _argument(1), label="option")
    add(JEQ, SOL_SOCKET, None, "allowed")
    add(LOAD, _argument(2))
    for option in NAMING_OPTIONS:
        add(JEQ, option, "forbidden")
    add(RETURN, ALLOW)
    add(LOAD, _argument(1), label="ioctl")
    for request in TERMINAL_IOCTLS:
        add(JEQ, request, "forbidden")
    add(RETURN, ALLOW, label="allowed")
    add(RETURN, ERRNO | EPERM, label="forbidden")
    add(RETURN, ERRNO | EAFNOSUPPORT, label="unknown")
    return _assembled(lines)


def _argument(n: int) -> int:
    """Offset of the low half of argument n; both machines are little-endian."""
    return 16 + 8 * n


def _assembled(lines: list[tuple[str | None, int, int, str | None, str | None]]) -> bytes:
    """Labels become distances: BPF jumps forwards only, by at most 255."""
    at = {label: i for i, (label, *_) in enumerate(lines) if label}
    return b"".join(
        struct.pack("=HBBI", code, at[yes] - i - 1 if yes else 0, at[no] - i - 1 if no else 0, k)
        for i, (_, code, k, yes, no) in enumerate(lines)
    )
