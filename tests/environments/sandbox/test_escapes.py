"""Attempts to get out of a sandbox, or to bring it down. Each must be held; where an attempt could be held for the
wrong reason (the file is not there, the call does not exist), a control shows that it succeeds without the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custodes.environments.sandbox import CommandResult, Limits, Sandbox, SandboxFailure
from custodes.environments.sandbox.bubblewrap import _fork_server
from custodes.environments.sandbox.inside.seccomp import DENIED

ROOT = os.geteuid() == 0
COLUMN = {"x86_64": 0, "aarch64": 1}.get(platform.machine(), 0)
CANARY = "canary-5b1f"
Opened = Callable[..., Sandbox]


@pytest.fixture
def sandbox(opened: Opened) -> Sandbox:
    return opened({"work/file.txt": "text\n"})


@pytest.fixture
def canary() -> Iterator[Path]:
    """A file on the host that everyone may read, in a folder that everyone may write."""
    folder = Path(f"/var/tmp/sandbox-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "canary"
    path.write_text(CANARY)
    path.chmod(0o666)
    yield path
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def python(sandbox: Sandbox, code: str, seconds: float | None = None) -> CommandResult:
    return sandbox.run(f"python3 - <<'END'\n{code}\nEND", seconds)


def works(sandbox: Sandbox) -> bool:
    """The sandbox still does what it is told."""
    return sandbox.run("echo still; pwd").stdout == "still\n/home/user\n"


def on_host(marker: str) -> list[int]:
    """Living processes of this machine that have the marker among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if marker in (path / "cmdline").read_bytes().decode(errors="replace").split("\0") and state not in "ZX":
                found.append(int(path.name))
        except OSError:
            continue
    return found


# ---------------------------------------------------------------- reading the host


def test_reads_no_shadow(sandbox: Sandbox):
    assert os.path.exists("/etc/shadow")  # control: the host has one
    done = sandbox.run("cat /etc/shadow /etc/gshadow /etc/sudoers")
    assert (done.stdout, done.returncode) == ("", 1)


def test_reads_no_file_of_the_host(sandbox: Sandbox, canary: Path):
    assert subprocess.run(["cat", canary], capture_output=True, check=True).stdout == CANARY.encode()  # control
    done = sandbox.run(f"cat {canary} /home/user/../..{canary} /proc/self/root{canary} /proc/1/root{canary}")
    assert CANARY not in done.stdout + done.stderr
    assert done.returncode == 1


def test_sees_no_folder_of_the_host(sandbox: Sandbox):
    seen = sandbox.run("ls -A / /home /tmp /etc").stdout.split()
    assert {"root", "var", "sys", "boot", "mnt", "srv", "media", "work"}.isdisjoint(seen)
    assert {"shadow", "hostname", "resolv.conf", "ssh", "machine-id"}.isdisjoint(seen)
    assert not set(os.listdir("/tmp")) & set(sandbox.run("ls -A /tmp /dev/shm").stdout.split())


def test_knows_neither_host_nor_users(sandbox: Sandbox):
    assert sandbox.run("hostname").stdout == "sandbox\n"
    known = {line.split(":")[0] for line in sandbox.run("cat /etc/passwd").stdout.splitlines()}
    assert known == {"root", "user", "nobody"}
    assert len(Path("/etc/passwd").read_text().splitlines()) > 3  # control


def test_gets_nothing_of_the_environment(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_KEY", CANARY)
    assert CANARY in subprocess.run(["env"], capture_output=True, text=True, check=True).stdout  # control
    sandbox = opened()
    done = sandbox.run("env; export -p; cat /proc/*/environ /proc/self/task/*/environ")
    assert "HOME=/home/user" in done.stdout
    assert CANARY not in done.stdout
    assert CANARY not in sandbox.clean_room({}, "env; cat /proc/*/environ").stdout


def test_gets_no_open_file(opened: Opened, canary: Path):
    with open(canary) as file:
        os.set_inheritable(file.fileno(), True)
        inherited = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True
        )
        assert str(canary) in inherited.stdout  # control
        sandbox = opened()
        code = "import os\nfor fd in range(512):\n try: os.fstat(fd); print(fd)\n except OSError: pass"
        for done in (python(sandbox, code), sandbox.clean_room({"x.py": code.encode()}, "python3 x.py")):
            assert set(done.stdout.split()) <= {"0", "1", "2", "3"}  # 3: the script itself while Python reads it
        assert str(canary) not in sandbox.run("ls -l /proc/*/fd").stdout


# ---------------------------------------------------------------- writing outside


@pytest.mark.parametrize(
    "path",
    ["/x", "/usr/bin/x", "/usr/lib/x", "/etc/x", "/etc/passwd", "/bin/x", "/dev/x", "/proc/x", "/supervisor", "/opt/x"],
)
def test_writes_nothing_outside_the_home(sandbox: Sandbox, path: str):
    done = sandbox.run(f"echo x >> {path}")
    assert done.returncode == 1
    assert sandbox.run("echo x >> /home/user/x && echo x >> /tmp/x && cat x").stdout == "x\n"  # control


def test_writes_no_file_of_the_host(sandbox: Sandbox, canary: Path):
    sandbox.run(
        f"mkdir -p {canary.parent}; echo bad > {canary}; echo bad > ../../..{canary}; cp work/file.txt {canary}"
    )
    assert canary.read_text() == CANARY
    subprocess.run(["sh", "-c", f"echo bad > {canary}"], check=True)
    assert canary.read_text() == "bad\n"  # control: the path can be written, only not from in there


def test_programs_of_the_system_stay(sandbox: Sandbox):
    before = Path("/usr/bin/env").stat()
    done = sandbox.run(
        "rm -f /usr/bin/env; mv /usr/bin/env /tmp; chmod 777 /usr/bin/env; touch /usr/bin/env; echo x > /usr/bin/env"
    )
    assert done.returncode != 0
    after = Path("/usr/bin/env").stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_ino) == (before.st_mode, before.st_mtime_ns, before.st_ino)


def test_symbolic_links_lead_nowhere(sandbox: Sandbox, canary: Path):
    sandbox.run(f"ln -s {canary} file; ln -s / root; ln -s {canary.parent} folder; ln -s loop loop")
    after = sandbox.snapshot()
    assert {after[name].kind for name in ("file", "root", "folder", "loop")} == {"symlink"}
    assert after["file"].content is None
    assert {path for path in after if "/" in path} == {"work/file.txt"}  # nothing below a link was entered
    assert (Path("/var/tmp") / canary.parent.name / "canary").read_text() == CANARY  # control: the target is there


def test_a_folder_swapped_for_a_link_leads_nowhere(sandbox: Sandbox, canary: Path):
    sandbox.run(f"rm -rf work; ln -s {canary.parent} work")
    after = sandbox.snapshot()
    assert list(after) == ["work"]
    assert sandbox.clean_room({"work/canary": b"own"}, "cat work/canary").stdout == "own"
    assert canary.read_text() == CANARY


def test_hard_links_lead_nowhere(sandbox: Sandbox):
    assert sandbox.run("ln work/file.txt here && cat here").stdout == "text\n"  # control
    for target in ("/usr/bin/env", "/etc/passwd", "/proc/self/exe", "/dev/null"):
        assert sandbox.run(f"ln {target} there").returncode != 0
    assert "there" not in sandbox.snapshot()


def test_open_by_handle_finds_no_file(sandbox: Sandbox):
    # The trick of "shocker": a file's handle opens it without a path.
    assert "1 EPERM" in _probe(sandbox, "open_by_handle_at", "-100, 0, 0")
    assert "1 EPERM" in _probe(sandbox, "name_to_handle_at", "-100, b'.', 0, 0, 0")


# ---------------------------------------------------------------- read-only paths

REPLACEMENTS = [
    "echo bad > a/b/guard.py",
    "rm -f a/b/guard.py",
    "mv a/b/guard.py elsewhere",
    "echo bad > new && mv -f new a/b/guard.py",
    "mv a/b a/c && mkdir a/b && echo bad > a/b/guard.py",
    "mv a c && mkdir -p a/b && echo bad > a/b/guard.py",
    "rm -rf a && mkdir -p a/b && echo bad > a/b/guard.py",
    "mv /home/user /home/other && mkdir -p /home/user/a/b && echo bad > /home/user/a/b/guard.py",
    "ln -sf /home/user/new a/b/guard.py",
    "ln a/b/guard.py hard && echo bad > hard",
    "chmod 777 a/b/guard.py; echo bad >> a/b/guard.py",
    "truncate -s 0 a/b/guard.py; sed -i s/good/bad/ a/b/guard.py; tee a/b/guard.py < /dev/null; dd if=/dev/zero of=a/b/guard.py count=1",
    "mount --bind new a/b/guard.py; mount -o remount,rw a/b/guard.py; umount a/b/guard.py; umount -l a/b; unshare -rm umount a/b/guard.py",
    "exec 7<>a/b/guard.py; echo bad >&7",
    "echo bad > /proc/self/cwd/a/b/guard.py; echo bad > /proc/$$/root/home/user/a/b/guard.py",
]


@pytest.mark.parametrize("attempt", REPLACEMENTS)
@pytest.mark.parametrize("fixed", ["a/b/guard.py", "a/b", "a"])
def test_read_only_files_stay(opened: Opened, attempt: str, fixed: str):
    sandbox = opened({"a/b/guard.py": "good"}, read_only=[fixed])
    sandbox.run(attempt)
    assert sandbox.snapshot()["a/b/guard.py"].content == b"good"
    assert sandbox.run("cat /home/user/a/b/guard.py").stdout == "good"


def test_what_is_not_read_only_can_be_replaced(opened: Opened):
    """The control of the test above: the same attempts succeed, and the neighbours of a fixed file stay free."""
    changed = 0
    for attempt in REPLACEMENTS:
        sandbox = opened({"a/b/guard.py": "good"})
        sandbox.run(attempt)
        state = sandbox.snapshot().get("a/b/guard.py")
        changed += state is None or state.content != b"good"
    assert changed >= 10
    sandbox = opened({"a/b/guard.py": "good", "a/b/free.py": "old"}, read_only=["a/b/guard.py"])
    assert sandbox.run("echo new > a/b/free.py && rm a/b/free.py && touch a/b/made a/made made").returncode == 0


# ---------------------------------------------------------------- network


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_reaches_no_port_of_the_host(sandbox: Sandbox, family: str, kind: str):
    address = "127.0.0.1" if family == "AF_INET" else "::1"
    with socket.socket(getattr(socket, family), getattr(socket, kind)) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        if kind == "SOCK_STREAM":
            server.listen()
        port = server.getsockname()[1]
        code = f"import socket\ns = socket.socket(socket.{family}, socket.{kind})\ns.connect(('{address}', {port}))\ns.send(b'x')\nprint('sent')"
        assert (
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"sent\n"
        )  # control
        done = python(sandbox, code)
        assert "sent" not in done.stdout
        assert "OSError" in done.stderr


def test_bash_reaches_no_port_and_no_name(sandbox: Sandbox):
    assert sandbox.run("echo x > /dev/tcp/127.0.0.1/22").returncode == 1
    assert sandbox.run("echo x > /dev/udp/8.8.8.8/53").returncode == 1
    assert sandbox.run("getent hosts example.org; getent ahosts localhost.example").returncode != 0
    assert "Address family not supported" in sandbox.run("echo x > /dev/tcp/127.0.0.1/22").stderr


@pytest.mark.parametrize("abstract", [True, False])
def test_reaches_no_unix_socket_of_the_host(sandbox: Sandbox, canary: Path, abstract: bool):
    name = f"\0{CANARY}-{os.getpid()}" if abstract else str(canary.parent / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({name!r})\nprint('connected')"
        assert (
            b"connected" in subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        )  # control
        assert "connected" not in python(sandbox, code).stdout


@pytest.mark.parametrize("family", ["AF_PACKET", "AF_NETLINK", "AF_VSOCK", "AF_ALG"])
def test_has_no_other_sockets(sandbox: Sandbox, family: str):
    done = python(sandbox, f"import socket\nsocket.socket({int(getattr(socket, family))}, socket.SOCK_RAW)")
    assert "[Errno 97]" in done.stderr


def test_sees_no_interface(sandbox: Sandbox):
    seen = sandbox.run("cat /proc/net/dev /proc/net/route").stdout
    own = {line.split(":")[0].strip() for line in seen.splitlines() if ":" in line}
    assert own <= {"lo"}
    assert sandbox.run("tail -n +2 -q /proc/net/tcp /proc/net/udp /proc/net/route").stdout == ""
    assert sandbox.run("awk 'NR > 1 && NF > 7' /proc/net/unix").stdout == ""  # no socket has a name


# ---------------------------------------------------------------- using up the machine


def test_fork_bomb(sandbox: Sandbox):
    sandbox.run(":(){ :|:& };:", 2)
    assert works(sandbox)
    assert int(sandbox.run("ls -d /proc/[0-9]* | wc -l").stdout) <= 5  # supervisor, shell, subshell, ls, wc


def test_a_command_that_names_its_functions_like_the_shells_own_words_runs_once(sandbox: Sandbox):
    """The shell's loop between two commands must not call what a command has defined."""
    words = (":", "true", "test", "disown", "printf", "read", "eval")
    sandbox.run("; ".join(f"{word}() {{ echo x >> /tmp/called; }}" for word in words))
    assert sandbox.run("echo again").stdout == "again\n"
    assert not sandbox.run("cat /tmp/called").stdout
    assert sandbox.run("true; cat /tmp/called").stdout == "x\n"  # control


def test_python_fork_bomb_of_daemons(sandbox: Sandbox):
    code = "import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid(); os.fork()\n  except OSError: pass"
    done = python(sandbox, code, 2)
    assert done.timed_out
    assert works(sandbox)


def test_processes_are_counted(opened: Opened):
    sandbox = opened(limits=Limits(processes=12))
    done = sandbox.run("for i in $(seq 30); do sleep 3 & done; ls -d /proc/[0-9]* | wc -l")
    assert "Resource temporarily unavailable" in done.stderr
    free = opened(limits=Limits(processes=60)).run("for i in $(seq 30); do sleep 3 & done; ls -d /proc/[0-9]* | wc -l")
    assert int(free.stdout) > 30  # control


def test_threads_are_counted(sandbox: Sandbox):
    code = "import threading, time\nfor i in range(500): threading.Thread(target=time.sleep, args=(3,), daemon=True).start()\nprint('all')"
    done = python(sandbox, code)
    assert "can't start new thread" in done.stderr
    assert done.stdout == ""


def test_fills_no_disk(opened: Opened):
    sandbox = opened(limits=Limits(disk_mb=8))
    done = sandbox.run(
        "for i in $(seq 20); do head -c 1000000 /dev/zero > /tmp/f$i; head -c 1000000 /dev/zero > f$i; done"
    )
    assert "No space left on device" in done.stderr
    assert sum(state.size for state in sandbox.snapshot().values()) < 8 << 20
    assert "No space left" in sandbox.run("echo x > /dev/shm/x && head -c 100000 /dev/zero > /dev/shm/y").stderr
    assert sandbox.run("rm -f /tmp/f* f*; echo x > y && cat y").stdout == "x\n"


def test_fills_no_table_of_files(opened: Opened):
    sandbox = opened(limits=Limits(disk_mb=4))
    done = python(sandbox, "for i in range(5000): open(f'f{i}', 'w').close()")
    assert "No space left on device" in done.stderr
    assert 500 < len(sandbox.snapshot()) < 1024


def test_writes_no_huge_file(opened: Opened):
    sandbox = opened(limits=Limits(file_mb=2))
    assert sandbox.run("head -c 1000000 /dev/zero > small").returncode == 0  # control
    done = sandbox.run("head -c 3000000 /dev/zero > large; truncate -s 1G sparse")
    assert done.returncode != 0
    after = sandbox.snapshot()
    assert after["large"].size <= 2 << 20
    assert "sparse" not in after or after["sparse"].size == 0


def test_sparse_files_do_not_hold_up_the_snapshot(sandbox: Sandbox):
    assert sandbox.run("truncate -s 16M f{1..400}").returncode == 0  # 6.4 GB of nothing
    began = time.monotonic()
    after = sandbox.snapshot()
    assert time.monotonic() - began < 20
    assert sum(state.sha256 == "" for state in after.values() if state.kind == "file") > 300
    assert after["work/file.txt"].size == 5


def test_takes_no_memory_beyond_its_own(opened: Opened):
    sandbox = opened(limits=Limits(memory_mb=128))
    done = python(sandbox, "x = bytearray(300 << 20)\nprint('held')")
    assert "MemoryError" in done.stderr
    free = opened(limits=Limits(memory_mb=600))
    assert python(free, "x = bytearray(300 << 20)\nprint('held')").stdout == "held\n"  # control


@pytest.mark.parametrize("shared", [False, True])
def test_many_processes_take_no_memory_together(opened: Opened, shared: bool):
    hold = "mmap.mmap(-1, 100 << 20)" if shared else "bytearray(100 << 20)"
    code = f"import mmap, os, time\nfor i in range(8):\n  if os.fork() == 0:\n    x = {hold}\n    for j in range(0, 100 << 20, 4096): x[j] = 1\n    time.sleep(60)\ntime.sleep(60)"
    sandbox = opened(limits=Limits(memory_mb=256, seconds=50))
    done = python(sandbox, code)
    assert "more than 256 MiB of memory" in done.stderr
    assert not done.timed_out
    assert works(sandbox)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memfd_create", "b'x', 0"),
        ("shmget", "0, 4096, 0o1600"),
        ("semget", "0, 1, 0o1600"),
        ("msgget", "0, 0o1600"),
        ("mq_open", "b'x', 66, 0o600, 0"),
    ],
)
def test_takes_no_memory_that_nobody_counts(sandbox: Sandbox, name: str, arguments: str):
    assert "1 EPERM" in _probe(sandbox, name, arguments)
    assert "EPERM" not in _probe_here(name, arguments)  # control


def test_opens_no_more_files_than_its_own(sandbox: Sandbox):
    done = python(sandbox, "x = [open('/dev/null') for i in range(400)]")
    assert "Too many open files" in done.stderr
    assert "Too many" not in python(sandbox, "x = [open('/dev/null') for i in range(200)]").stderr  # control


def test_raises_no_limit(sandbox: Sandbox):
    for what in "uvfn":
        assert sandbox.run(f"ulimit -{what} unlimited").returncode == 1
    assert sandbox.run("prlimit --pid $$ --nproc=10000:10000 || nice -n -5 true && chrt -f 50 true").returncode != 0
    done = python(
        sandbox,
        "import os\ntry: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))\nexcept OSError as e: print(e.errno)",
    )
    assert done.stdout == "1\n"


# ---------------------------------------------------------------- output


def test_giant_output(sandbox: Sandbox):
    began = time.monotonic()
    done = sandbox.run("head -c 50000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert time.monotonic() - began < 30
    assert done.stdout == "x" * 65536
    assert (done.truncated, done.returncode, done.stderr) == (True, 0, "end\n")


def test_endless_output(sandbox: Sandbox):
    done = sandbox.run("yes >&2 & yes", 2)
    assert done.timed_out
    assert done.truncated
    assert len(done.stdout) == 65536
    assert 65536 <= len(done.stderr) < 66000  # and the note
    assert works(sandbox)


def test_output_of_one_byte_less_is_whole(opened: Opened):
    sandbox = opened(limits=Limits(output_bytes=1000))
    assert not sandbox.run("head -c 1000 /dev/zero | tr '\\0' x").truncated
    assert sandbox.run("head -c 1001 /dev/zero | tr '\\0' x").truncated


def test_binary_and_broken_text(sandbox: Sandbox):
    assert sandbox.run(r"printf 'a\xff\xfe\x00b\xc3'").stdout == "a\ufffd\ufffd\0b\ufffd"
    assert sandbox.run("printf '\\U1F600 é 日本 \\u202e'").stdout == "😀 é 日本 \u202e"
    assert sandbox.run("echo 'é 日本 😀' | wc -c").stdout == "15\n"
    done = sandbox.run("head -c 40000 /dev/urandom")
    assert isinstance(done.stdout, str)
    assert works(sandbox)


def test_terminal_escapes_meet_no_terminal(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]):
    escapes = "\x1b[2J\x1b]0;title\x07\x1b[6n"
    assert sandbox.run(r"printf '\x1b[2J\x1b]0;title\x07\x1b[6n'").stdout == escapes  # data, and nothing but data
    assert sandbox.run("tty; echo x > /dev/tty").returncode == 1
    assert sandbox.run("echo x > /dev/console; echo x > /dev/pts/0").returncode == 1
    assert capfd.readouterr() == ("", "")


def test_types_into_no_terminal(sandbox: Sandbox):
    for request in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX
        assert "1 EPERM" in _probe(sandbox, "ioctl", f"0, {request}, b'x'", number=(16, 29)[COLUMN])
        assert "EPERM" not in _probe_here("ioctl", f"0, {request}, b'x'", number=(16, 29)[COLUMN])  # control: ENOTTY


# ---------------------------------------------------------------- outliving, and not ending


@pytest.mark.parametrize(
    "command",
    [
        "sleep {0} &",
        "nohup setsid sleep {0} >/dev/null 2>&1 & disown",
        "(trap '' TERM HUP INT; exec sleep {0}) &",
        "(setsid sh -c 'sleep {0} & sleep {0}' &) &",
        "coproc sleep {0}",
        "exec 9> >(sleep {0})",
    ],
)
def test_nothing_outlives_its_command(sandbox: Sandbox, command: str):
    marker = f"{4000 + time.monotonic_ns() % 10**6 / 10**6:.6f}"
    seen: list[int] = []
    looking = threading.Thread(target=lambda: seen.extend(_awaited(marker)))
    looking.start()
    sandbox.run(command.format(marker) + "\nsleep 1.5")
    looking.join()
    assert seen  # control: it ran, and can be seen from here
    assert not on_host(marker)
    listed = sandbox.run("jobs; ps -e -o comm= > /tmp/listed; grep -v defunct /tmp/listed").stdout.split()
    assert listed == ["python3", "bash", "ps"]


def test_nothing_outlives_the_episode(opened: Opened):
    sandbox = opened()
    marker = f"{5000 + time.monotonic_ns() % 10**6 / 10**6:.6f}"

    def ask() -> None:
        with pytest.raises(SandboxFailure):
            sandbox.run(f"setsid sleep {marker} & sleep {marker}")

    running = threading.Thread(target=ask)
    running.start()
    assert _awaited(marker)  # control
    sandbox.close()
    running.join(60)
    assert not on_host(marker)


def test_nothing_outlives_the_clean_room(sandbox: Sandbox):
    marker = f"{6000 + time.monotonic_ns() % 10**6 / 10**6:.6f}"
    code = f"import subprocess\nsubprocess.Popen(['setsid', 'sleep', '{marker}'])\nprint('started')"
    assert sandbox.clean_room({"x.py": code.encode()}, "python3 x.py").stdout == "started\n"
    assert not on_host(marker)


@pytest.mark.usefixtures("_bubblewrap")
def test_nothing_outlives_the_host():
    marker = f"{7000 + time.monotonic_ns() % 10**6 / 10**6:.6f}"
    code = f"from custodes.environments.sandbox import open_sandbox\nopen_sandbox({{}}).run('sleep {marker}', 100)"
    host = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert _awaited(marker, 60)  # control
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    deadline = time.monotonic() + 30
    while on_host(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not on_host(marker)


@pytest.mark.parametrize(
    "command",
    [
        "sleep 100",
        "while :; do :; done",
        "trap '' TERM INT HUP QUIT; while :; do sleep 1; done",
        "kill -STOP $$",
        "cat /dev/zero > /dev/null",
        "exec sleep 100",
        "read x < /dev/zero",
        "mkfifo p; cat p",
        "until false; do sleep 100; done",
    ],
)
def test_a_command_without_end_is_ended(sandbox: Sandbox, command: str):
    sandbox.run("cd work; name=value")
    began = time.monotonic()
    done = sandbox.run(command, 1)
    assert time.monotonic() - began < 20
    assert done.timed_out
    assert done.returncode == 137
    assert "stopped after 1 s" in done.stderr
    assert sandbox.run("pwd; echo $name").stdout == "/home/user/work\n\n"


def test_a_clean_room_without_end_is_ended(sandbox: Sandbox):
    for command in ("sleep 100", "python3 x.py"):
        done = sandbox.clean_room({"x.py": b"print('begun', flush=True)\nwhile True: pass"}, command, 1)
        assert done.timed_out
        assert done.stdout in ("", "begun\n")


# ---------------------------------------------------------------- other processes


def test_sees_no_process_of_the_host(sandbox: Sandbox):
    assert sandbox.run("ls -d /proc/[0-9]*").stdout.split()[0] == "/proc/1"
    seen = sandbox.run("cat /proc/*/cmdline | tr '\\0' ' '").stdout
    own = Path(f"/proc/{os.getpid()}/cmdline").read_text().replace("\0", " ").strip()
    assert "python" in own  # control
    assert own not in seen
    assert sandbox.run(f"kill -0 {os.getpid() + 100000}; ls /proc/{_fork_server().process.pid}").returncode != 0  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["KILL", "STOP", "INT", "TERM", "SEGV", "PIPE", "CHLD", "USR1"])
def test_signals_do_not_reach_the_supervisor(sandbox: Sandbox, name: str):
    pid = _fork_server().process.pid  # type: ignore[union-attr]
    sandbox.run(f"for i in 1 2 3; do kill -{name} 1; done; (kill -{name} -1) & wait; kill -{name} 0", 2)
    assert works(sandbox)
    assert _fork_server().process.pid == pid  # type: ignore[union-attr]


def test_memory_and_files_of_the_supervisor_are_closed(sandbox: Sandbox):
    for path in ("mem", "environ", "maps", "root/", "cwd/", "fd/", "auxv", "stack", "map_files/"):
        look = "ls -A" if path.endswith("/") else "cat"
        done = sandbox.run(f"{look} /proc/1/{path}")
        assert (done.returncode != 0, done.stdout) == (True, ""), path
        assert sandbox.run(f"ls -d /proc/self/{path}").returncode == 0  # control
    code = "open('/proc/1/mem', 'r+b')"
    assert "PermissionError" in python(sandbox, code).stderr


def test_traces_no_process(sandbox: Sandbox):
    assert "1 EPERM" in _probe(sandbox, "ptrace", "16, 1, 0, 0")  # PTRACE_ATTACH
    assert "1 EPERM" in _probe(sandbox, "ptrace", "0, 0, 0, 0")  # PTRACE_TRACEME
    assert "EPERM" not in _probe_here("ptrace", "0, 0, 0, 0")  # control


def test_other_sandboxes_are_not_there(opened: Opened):
    first, second = opened({"own": "1"}), opened({"own": "2"})
    first.run("echo secret > /tmp/left; echo secret > /dev/shm/left; mkfifo /tmp/pipe")
    assert second.run("cat own; ls -A /tmp /dev/shm; cat /tmp/left").stdout == "2/dev/shm:\n\n/tmp:\n"
    assert first.run("cat /tmp/left").stdout == "secret\n"  # control
    assert first.clean_room({}, "ls -A /tmp /dev/shm /home/user").stdout == "/dev/shm:\n\n/home/user:\n\n/tmp:\n"


def test_nameless_sockets_stay_nameless(sandbox: Sandbox):
    """Rooms share an empty network namespace: a socket with a name would be a door between them."""
    code = (
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.send(b'x')\nprint(b.recv(1))\n"
        "for attempt in (lambda: a.bind('\\0x'), lambda: a.connect('\\0x'), lambda: a.setsockopt(1, 16, 1)):\n"
        "  try: attempt(); print('named')\n  except PermissionError: print('refused')"
    )
    assert python(sandbox, code).stdout == "b'x'\nrefused\nrefused\nrefused\n"


# ---------------------------------------------------------------- the kernel

CALLS = {
    "bpf": "5, 0, 0",
    "perf_event_open": "0, 0, -1, -1, 0",
    "userfaultfd": "0x1000000",
    "io_uring_setup": "1, 0",
    "keyctl": "1000, 0",
    "add_key": "0, 0, 0, 0, 0",
    "request_key": "0, 0, 0, 0",
    "process_vm_readv": "1, 0, 0, 0, 0, 1",
    "process_vm_writev": "1, 0, 0, 0, 0, 1",
    "pidfd_getfd": "-1, 0, 0",
    "kcmp": "0, 0, 99, 0, 0",
    "mount": "0, 0, 0, 0, 0",
    "umount2": "0, 0x1000",
    "pivot_root": "0, 0",
    "chroot": "0",
    "setns": "-1, 0",
    "unshare": "1",
    "fsopen": "0, 99",
    "open_tree": "-1, 0, 0x80000000",
    "move_mount": "-1, 0, -1, 0, 99999",
    "kexec_load": "0, 0, 0, 99",
    "init_module": "0, 0, 0",
    "finit_module": "-1, 0, 0",
    "reboot": "0, 0, 0, 0",
    "swapon": "0, 0",
    "personality": "0xffffffff",
    "fanotify_init": "0xffffffff, 0",
    "clock_settime": "99, 0",
    "sethostname": "0, -1",
    "memfd_secret": "0xffffffff",
}


@pytest.mark.parametrize("name", CALLS)
def test_dangerous_calls_are_refused(sandbox: Sandbox, name: str):
    assert "1 EPERM" in _probe(sandbox, name, CALLS[name])
    if ROOT:  # control: the same arguments fail for another reason, or not at all
        assert "EPERM" not in _probe_here(name, CALLS[name])


@pytest.mark.parametrize("flag", [0x10000000, 0x20000, 0x20000000, 0x40000000, 0x2000000, 0x4000000, 0x8000000])
def test_makes_no_namespace(sandbox: Sandbox, flag: int):
    code = f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\npid = libc.syscall({(56, 220)[COLUMN]}, {flag} | 17, 0, 0, 0, 0)\n"
    code += "if pid == 0: os._exit(0)\nprint(pid, ctypes.get_errno())"
    assert python(sandbox, code).stdout == "-1 1\n"
    if ROOT:
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert not made.startswith("-1")  # control
    assert python(sandbox, code.replace(f"{flag} |", "")).stdout.split()[1] == "0"  # control: a plain fork


def test_clone3_does_not_exist(sandbox: Sandbox):
    """Its flags lie in memory, where the filter cannot read them."""
    assert "38 ENOSYS" in _probe(sandbox, "clone3", "0, 0", number=435)
    assert "ENOSYS" not in _probe_here("clone3", "0, 0", number=435)  # control


def test_makes_no_sandbox_in_the_sandbox(sandbox: Sandbox):
    assert sandbox.run("unshare -Ur id").returncode != 0
    assert sandbox.run("bwrap --ro-bind / / true").returncode != 0
    assert sandbox.run("chroot / true").returncode != 0
    assert sandbox.run("nsenter -t 1 -m true").returncode != 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls of 32-bit x86")
@pytest.mark.parametrize("bits", ["i386", "x32"])
def test_the_second_door_to_the_kernel_is_shut(sandbox: Sandbox, bits: str):
    """The same calls by other numbers: getpid as 32-bit code, and with the x32 bit."""
    machine = "b8 14 00 00 00 cd 80 c3" if bits == "i386" else "b8 27 00 00 40 0f 05 c3"
    code = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
        f"m.write(bytes.fromhex('{machine}'))\naddress = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())"
    )
    done = python(sandbox, code)
    assert (done.stdout, done.returncode) == ("", 128 + signal.SIGSYS)
    here = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert here.returncode != -signal.SIGSYS  # control: it is our filter that kills


def test_writes_no_setting_of_the_kernel(sandbox: Sandbox):
    for path in (
        "kernel/core_pattern",
        "kernel/hostname",
        "vm/drop_caches",
        "kernel/modprobe",
        "fs/file-max",
        "net/ipv4/ip_forward",
    ):
        assert sandbox.run(f"echo 1 > /proc/sys/{path}").returncode != 0, path
    assert sandbox.run("echo c > /proc/sysrq-trigger; cat /proc/sysrq-trigger").stdout == ""
    assert sandbox.run("echo -1000 > /proc/self/oom_score_adj").returncode != 0
    assert sandbox.run("echo '0 0 1' > /proc/self/uid_map; echo deny > /proc/self/setgroups").returncode != 0
    assert sandbox.run("cat /proc/self/oom_score_adj").stdout == "1000\n"  # where memory runs out, it goes first


def test_reads_no_memory_of_the_kernel(sandbox: Sandbox):
    for path in ("kcore", "keys", "kallsyms", "timer_list", "kmsg", "kpagecount"):
        assert sandbox.run(f"head -c 100 /proc/{path}").stdout == "", path
    assert sandbox.run("dmesg").stdout == ""


def test_has_no_sys(sandbox: Sandbox):
    assert os.path.isdir("/sys/fs/cgroup")  # control
    assert sandbox.run("ls /sys /sys/fs/cgroup /sys/kernel").stdout == ""
    assert sandbox.run("mkdir /tmp/c && mount -t cgroup -o rdma c /tmp/c").returncode != 0


def test_has_no_device(sandbox: Sandbox):
    names = set(sandbox.run("ls /dev").stdout.split())
    assert names == {"fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"}
    assert len(set(os.listdir("/dev")) - names) > 0  # control
    for number in ("b 8 0", "b 254 0", "c 1 1", "c 5 0", "c 10 232"):
        assert sandbox.run(f"mknod device {number}; cat device").returncode != 0
    assert "device" not in sandbox.snapshot()


def test_becomes_no_other_user(sandbox: Sandbox):
    assert sandbox.run("id -u; id -g; id -G").stdout == "1000\n1000\n1000\n"
    done = python(
        sandbox,
        "import os\nfor f in (os.setuid, os.setgid):\n try: f(0)\n except OSError as e: print('refused')\ntry: os.setgroups([0])\nexcept OSError: print('refused')",
    )
    assert done.stdout == "refused\n" * 3
    assert sandbox.run("chown 0 work; chown 0:0 work/file.txt").returncode != 0


def test_setuid_programs_give_nothing(sandbox: Sandbox):
    assert sandbox.run("cp /usr/bin/id own && chmod 6755 own && ./own -u").stdout == "1000\n"
    assert sandbox.snapshot()["own"].mode == 0o6755  # control: the bits are there, and worth nothing
    found = [
        p
        for p in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/chsh")
        if os.path.exists(p) and os.stat(p).st_mode & stat.S_ISUID
    ]
    assert found  # control
    assert sandbox.run("su -c id; sudo id; newgrp root").returncode != 0
    assert "1" in sandbox.run("grep NoNewPrivs /proc/self/status").stdout


def test_has_no_capability(sandbox: Sandbox):
    lines = dict(line.split(":\t") for line in sandbox.run("grep ^Cap /proc/self/status").stdout.splitlines())
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    code = (
        "print(*[l.split()[1] for l in open('/proc/self/status') if l.startswith(('Cap', 'Seccomp:', 'NoNewPrivs'))])"
    )
    warm = sandbox.clean_room({"x.py": code.encode()}, "python3 x.py").stdout  # forked, not started
    assert warm.split() == ["0" * 16] * 5 + ["1", "2"]


def test_sets_no_clock(sandbox: Sandbox):
    assert sandbox.run("date -s 2001-01-01").returncode != 0
    assert time.time() > 1.7e9


# ---------------------------------------------------------------- deceiving the host


def test_a_lie_about_the_end_of_a_command_moves_nothing_later(opened: Opened):
    """The shell's own channel is its own: what it fakes there ends its command early, and stops it."""
    sandbox = opened()
    sandbox.run(
        "for fd in /proc/$$/fd/*; do printf '0\\0' 1>&${fd##*/}; done 2>/dev/null; while :; do echo more >> grown; done",
        3,
    )
    first = sandbox.snapshot().get("grown")
    time.sleep(0.3)
    assert sandbox.snapshot().get("grown") == first


@pytest.mark.parametrize(
    "command",
    [
        "exec 3>&- 4>&- 10>&- 11>&-",
        "builtin() { :; }; eval() { :; }; read() { :; }; printf() { :; }",
        "set -e; false",
        "set -n",
        "enable -n eval read printf builtin",
        "trap 'kill -9 $$' DEBUG",
        "exit 5",
        "break; continue; return",
        "exec true",
        "alias builtin=false; shopt -s expand_aliases",
        "unset REPLY; readonly REPLY=x",
        "kill -9 $$",
        "exec < /dev/zero",
        "PATH=; unset HOME IFS; cd /tmp",
    ],
)
def test_a_shell_that_breaks_itself_is_replaced(sandbox: Sandbox, command: str):
    sandbox.run(command, 2)
    for _ in range(3):  # a poisoned shell may fail a command; it is gone after that
        if sandbox.run("cd /home/user && /bin/echo fine", 2).stdout == "fine\n":
            return
    pytest.fail("the shell does not come back")


def test_closed_files_and_folders_are_read_all_the_same(sandbox: Sandbox):
    sandbox.run("mkdir -p secret/deep; echo hidden > secret/deep/file; chmod 000 secret/deep/file secret/deep secret")
    after = sandbox.snapshot()
    assert after["secret/deep/file"].content == b"hidden\n"
    assert (after["secret"].mode, after["secret/deep/file"].mode) == (0, 0)


def test_strange_names_and_files_do_not_hold_up_the_snapshot(sandbox: Sandbox):
    sandbox.run("mkfifo pipe; touch -- 'new\nline' ' ' '-rf' \"$(printf 'bad\\xff')\" \"$(printf '%0255d' 0)\"")
    python(sandbox, "import os\nfor i in range(900): os.mkdir('d'); os.chdir('d')\nopen('end', 'w').close()")
    after = sandbox.snapshot()
    assert after["pipe"].kind == "other"
    assert {"new\nline", " ", "-rf", "bad\udcff", "0" * 255} <= set(after)
    assert max(len(path.split("/")) for path in after) == 200
    assert works(sandbox)


def test_the_clean_room_knows_nothing_of_the_episode(sandbox: Sandbox):
    sandbox.run(
        "python3() { echo -n 100; }; cat() { echo bad; }; export -f python3 cat; export PYTHONPATH=/home/user LD_PRELOAD=/home/user/x.so "
        "BASH_ENV=/home/user/env; echo 'echo bad' > env; echo 'echo bad' > .bashrc; echo 'print(\"bad\")' > sitecustomize.py; "
        "mkdir -p /tmp/bin; echo 'echo bad' > /tmp/bin/python3; chmod +x /tmp/bin/python3; PATH=/tmp/bin:$PATH; alias python3=echo"
    )
    files = {"x.py": b"import os; print(sorted(os.listdir('.')), os.environ.get('PYTHONPATH'))"}
    assert sandbox.clean_room(files, "python3 x.py").stdout == "['x.py'] None\n"
    assert sandbox.clean_room(files, "python3 x.py; ls /tmp").stdout == "['x.py'] None\n"


def test_one_clean_room_leaves_nothing_for_the_next(sandbox: Sandbox):
    spoil = b"import sys, os, builtins, json\njson.loads = builtins.print = lambda *a: 'bad'\nopen('/tmp/left', 'w').write('bad')\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)"
    sandbox.clean_room({"x.py": spoil}, "python3 x.py")
    check = b"import json, os\nprint(json.loads('1'), os.listdir('/tmp'))"
    assert sandbox.clean_room({"x.py": check}, "python3 x.py").stdout == "1 []\n"


# ---------------------------------------------------------------- helpers


def _awaited(marker: str, seconds: float = 20) -> list[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := on_host(marker):
            return found
        time.sleep(0.02)
    return []


def _probe_code(name: str, arguments: str, number: int | None) -> str:
    number = DENIED[name][COLUMN] if number is None else number
    return (
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"done = libc.syscall(ctypes.c_long({number}), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in ({arguments},)])\n"
        "e = ctypes.get_errno() if done < 0 else 0\nprint(e, errno.errorcode.get(e))"
    )


def _probe(sandbox: Sandbox, name: str, arguments: str, number: int | None = None) -> str:
    """The error of a system call made inside: its number and name."""
    return python(sandbox, _probe_code(name, arguments, number)).stdout


def _probe_here(name: str, arguments: str, number: int | None = None) -> str:
    code = _probe_code(name, arguments, number)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True
    ).stdout


def test_the_probe_tells_success(sandbox: Sandbox):
    getpid = (39, 172)[COLUMN]
    assert _probe(sandbox, "getpid", "0", number=getpid) == _probe_here("getpid", "0", number=getpid) == "0 None\n"
    assert ctypes.CDLL(None)
