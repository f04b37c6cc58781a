"""What a sandbox promises whoever uses it honestly: a persistent shell, exact results, true snapshots, clean rooms."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.environments.sandbox import FileState, Limits, Sandbox, SandboxFailure, bubblewrap, open_sandbox
from custodes.types import InputError

Opened = Callable[..., Sandbox]


# ---------------------------------------------------------------- the shell


def test_the_shell_persists(opened: Opened):
    sandbox = opened({"a/b.txt": "x"})
    assert sandbox.run("pwd").stdout == "/home/user\n"
    sandbox.run(
        "cd a; plain=1; export exported=2; array=(x y); greet() { echo hi $1; }; shopt -s extglob; set -o pipefail; umask 077"
    )
    assert (
        sandbox.run("pwd; echo $plain ${array[1]}; bash -c 'echo $exported'; greet you; umask").stdout
        == "/home/user/a\n1 y\n2\nhi you\n0077\n"
    )
    assert sandbox.run("false | true").returncode == 1
    assert sandbox.run("ls !(b.txt)").returncode == 2


@pytest.mark.parametrize(
    ("command", "stdout", "stderr", "returncode"),
    [
        ("echo out; echo err >&2; exit_status=3; (exit 3)", "out\n", "err\n", 3),
        ("", "", "", 0),
        ("# only a comment", "", "", 0),
        ("printf no-newline", "no-newline", "", 0),
        ("nosuchcommand", "", "bash: line 1: nosuchcommand: command not found\n", 127),
        ("kill -9 $BASHPID & wait $!", "", "", 137),
        ("sh -c 'kill -TERM $$'", "", "", 143),
        ("cat <<EOF\na 'quoted' \"line\" $((1 + 1))\nEOF", "a 'quoted' \"line\" 2\n", "", 0),
        ("for i in 1 2; do\n  echo $i\ndone", "1\n2\n", "", 0),
        ("cat", "", "", 0),  # standard input is empty
        ("read x; echo $?", "1\n", "", 0),
        ("echo 'it'\"'\"'s'; echo \\\\; echo '\\0'", "it's\n\\\n\\0\n", "", 0),
        ("echo é | rev", "é\n", "", 0),
    ],
)
def test_results_are_those_of_bash(opened: Opened, command: str, stdout: str, stderr: str, returncode: int):
    done = opened().run(command)
    assert (done.stdout, done.returncode) == (stdout, returncode)
    assert stderr == "Killed" or done.stderr.endswith(stderr)
    assert (done.timed_out, done.truncated) == (False, False)


@pytest.mark.parametrize("command", ["if", "echo 'open", "done", "echo $(", "cat <<EOF\nx"])
def test_broken_syntax_leaves_the_shell_whole(opened: Opened, command: str):
    sandbox = opened()
    sandbox.run("kept=1")
    sandbox.run(command)
    assert sandbox.run("echo $kept").stdout == "1\n"


def test_a_shell_that_ended_is_replaced_and_says_so(opened: Opened):
    sandbox = opened({"a/b": ""})
    sandbox.run("cd a; x=1")
    done = sandbox.run("echo before; exit 7")
    assert (done.stdout, done.returncode, done.timed_out) == ("before\n", 7, False)
    assert "a new one starts in /home/user/a" in done.stderr
    assert sandbox.run("pwd; echo $x").stdout == "/home/user/a\n\n"


def test_a_removed_folder_is_left(opened: Opened):
    sandbox = opened({"a/b": ""})
    sandbox.run("cd a; rm -rf ../a; exit")
    assert sandbox.run("pwd").stdout == "/home/user\n"


def test_seconds_are_measured_and_can_be_set(opened: Opened):
    sandbox = opened(limits=Limits(seconds=1))
    assert sandbox.run("sleep 20").timed_out
    done = sandbox.run("sleep 1.5; echo done", 60)
    assert (done.timed_out, done.stdout) == (False, "done\n")
    assert 1.5 <= done.seconds < 30


def test_a_long_command_is_fed_whole(opened: Opened):
    text = "x" * 500_000
    done = opened().run(f"echo -n {text} | wc -c", 60)
    assert done.stdout == "500000\n"


def test_many_commands_follow_each_other(opened: Opened):
    sandbox = opened()
    for i in range(200):
        done = sandbox.run(f"echo {i}; echo {-i} >&2; (exit {i % 100})", 60)
        assert (done.stdout, done.stderr, done.returncode) == (f"{i}\n", f"{-i}\n", i % 100)


def test_sandboxes_work_side_by_side(opened: Opened):
    def episode(i: int) -> str:
        with open_sandbox({"n": str(i)}, kind="bubblewrap") as sandbox:
            for _ in range(5):
                sandbox.run("echo -n $(( $(cat n) + 1 )) > n", 60)
            return sandbox.clean_room({"n": sandbox.snapshot()["n"].content or b""}, "cat n", 60).stdout

    opened().run("true")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(episode, range(40))) == [str(i + 5) for i in range(40)]


# ---------------------------------------------------------------- files


def test_files_and_folders_are_there(opened: Opened):
    sandbox = opened({"a/deep/x.txt": "é\n", "raw": b"\xff\0", "empty": ""}, ["a/empty", "b/c"])
    after = sandbox.snapshot()
    assert set(after) == {"a", "a/deep", "a/deep/x.txt", "a/empty", "b", "b/c", "empty", "raw"}
    assert after["a/deep/x.txt"] == FileState(
        "file", hashlib.sha256("é\n".encode()).hexdigest(), 3, 0o644, "é\n".encode()
    )
    assert after["raw"].content == b"\xff\0"
    assert after["a/empty"] == FileState("dir", "", 0, 0o755, None)
    assert sandbox.run("cat a/deep/x.txt; stat -c %U:%a raw").stdout == "é\nuser:644\n"


def test_the_snapshot_shows_every_change(opened: Opened):
    sandbox = opened({"kept": "1", "edited": "1", "removed": "1", "moved": "1", "mode": "1"})
    before = sandbox.snapshot()
    sandbox.run(
        "echo 2 > edited; rm removed; mv moved there; chmod 755 mode; ln -s kept link; mkdir -p new/folder; mkfifo pipe"
    )
    after = sandbox.snapshot()
    assert after["kept"] == before["kept"]
    assert after["edited"].content == b"2\n"
    assert after["there"] == before["moved"]
    assert after["mode"].mode == 0o755
    assert after["mode"].sha256 == before["mode"].sha256
    assert (after["link"].kind, after["link"].sha256) == ("symlink", hashlib.sha256(b"kept").hexdigest())
    assert {"removed", "moved"}.isdisjoint(after)
    assert (after["new/folder"].kind, after["pipe"].kind) == ("dir", "other")
    assert sandbox.snapshot() == after


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("ab./é \n'\"$", min_size=1, max_size=12), st.binary(max_size=200), max_size=6))
def test_any_files_come_back_as_they_were_given(opened: Opened, files: dict[str, bytes]):
    try:
        sandbox = opened(files)
    except InputError:  # e.g. "a" and "a/b"; the refusals have their own tests
        return
    after = sandbox.snapshot()
    assert {path: state.content for path, state in after.items() if state.kind == "file"} == files
    assert sandbox.run("find . -type f | tr -d '\\n' | wc -c").returncode == 0
    sandbox.close()


def test_the_supervisor_sees_what_the_host_sees(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    """Where the host may not read the home itself, as in Docker, the supervisor does."""
    sandbox = opened({"a/b": "1", "c": b"\xff"}, ["d"])
    sandbox.run(
        "ln -s / link; mkfifo pipe; chmod 000 a; touch $'bad\\xff'; truncate -s 20M large; head -c 1000000 /dev/urandom > some"
    )
    seen = sandbox.snapshot()
    monkeypatch.setattr(sandbox._supervisor, "home", None)  # type: ignore[attr-defined]
    assert sandbox.snapshot() == seen
    assert len(seen) == 9
    monkeypatch.undo()


def test_large_files_are_hashed_and_not_read(opened: Opened):
    large = os.urandom(3 << 20)
    after = opened({"large": large}, limits=Limits(file_mb=2)).snapshot()
    assert after["large"] == FileState("file", hashlib.sha256(large).hexdigest(), 3 << 20, 0o644, None)


# ---------------------------------------------------------------- clean rooms


def test_the_clean_room_holds_just_its_files(opened: Opened):
    sandbox = opened({"mine": "1"})
    sandbox.run("cd /tmp; x=1; touch left")
    done = sandbox.clean_room({"a/b.sh": b"pwd; ls; ls /tmp; echo x=$x; exit 4"}, "bash a/b.sh")
    assert (done.stdout, done.returncode) == ("/home/user\na\nx=\n", 4)
    assert set(sandbox.snapshot()) == {"mine"}
    assert sandbox.run("pwd").stdout == "/tmp\n"  # the episode goes on


def test_the_clean_room_has_the_same_limits(opened: Opened):
    sandbox = opened(limits=Limits(memory_mb=128, output_bytes=100, seconds=1))
    code = b"try: bytearray(300 << 20)\nexcept MemoryError: print('refused')"
    assert sandbox.clean_room({"x.py": code}, "python3 x.py").stdout == "refused\n"
    assert sandbox.clean_room({"x.py": b"print('x' * 1000)"}, "python3 x.py").stdout == "x" * 100
    assert sandbox.clean_room({"x.py": b"import time; time.sleep(60)"}, "python3 x.py").timed_out


SCRIPTS = {
    "plain": "print('hi'); import sys; print(sys.argv, __name__, __file__, sys.path[0])",
    "neighbour": "from helper import value; print(value)",
    "error": "def f():\n    raise ValueError('no')\nf()",
    "syntax": "print(",
    "exit": "import sys; print('x'); sys.exit(3)",
    "exit text": "import sys; sys.exit('words')",
    "quit": "exit(4)",
    "negative": "raise SystemExit(-1)",
    "hard exit": "import os; print('x', flush=True); os._exit(5)",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "stdin": "import sys; print(repr(sys.stdin.read()))",
    "atexit": "import atexit; atexit.register(print, 'end'); print('begin')",
    "thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.4), print('late'))).start()\nprint('soon')",
    "environment": "import os; print(sorted((k, v) for k, v in os.environ.items() if k not in ('_', 'SHLVL', 'OLDPWD', 'PWD')))",
    "unicode": "print('é 😀'); import sys; print(sys.stdout.encoding, sys.getfilesystemencoding())",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__module__)",
    "processes": "from multiprocessing import Pipe, Process\ndef f(c): c.send(1)\nif __name__ == '__main__':\n    a, b = Pipe(); p = Process(target=f, args=(b,)); p.start(); print(a.recv()); p.join()",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 2)\nif __name__ == '__main__': unittest.main(verbosity=0)",
    "pipe": "import os, sys; sys.stdout.buffer.write(b'\\xff\\n'); os.write(2, b'direct\\n')",
    "modules": "import sys; print('inside' in sys.modules, 'inside.supervisor' in sys.modules, sys.dont_write_bytecode)",
    "doctest": "import doctest; print(doctest.testmod())",
    "recursion": "def f(): f()\ntry: f()\nexcept RecursionError: print('deep')",
    "broken pipe": "import sys; sys.stdout.close()",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_warm_python_does_what_a_new_one_does(opened: Opened, name: str):
    """``python3 script`` is forked from a warm interpreter, ``env python3 script`` started."""
    sandbox = opened()
    files = {"in/x.py": SCRIPTS[name].encode(), "in/helper.py": b"value = 42"}
    warm, cold = (
        sandbox.clean_room(files, command, 60) for command in ("python3 in/x.py a b=c", "env python3 in/x.py a b=c")
    )
    assert warm.stdout == cold.stdout
    assert _timeless(warm.stderr) == _timeless(cold.stderr)
    assert warm.returncode == cold.returncode


@pytest.mark.parametrize(
    "arguments",
    ["-m unittest test_it", "-m unittest -v", "-m test_it x", "-m nosuch", "missing.py", "-m json.tool d.json"],
)
def test_the_warm_python_runs_modules_too(opened: Opened, arguments: str):
    sandbox = opened()
    test = (
        b"import sys, unittest\nprint(sys.argv[1:], __name__)\nclass T(unittest.TestCase):\n    def test(self): pass\n"
    )
    files = {"test_it.py": test, "d.json": b'{"a": 1}'}
    warm, cold = (sandbox.clean_room(files, f"{python} {arguments}", 60) for python in ("python3", "env python3"))
    assert (warm.stdout, warm.returncode) == (cold.stdout, cold.returncode)
    assert _timeless(warm.stderr) == _timeless(cold.stderr)


def _timeless(text: str) -> str:
    """Without the times that unittest prints."""
    return "\n".join(line.split(" in ")[0] if line.startswith("Ran ") else line for line in text.splitlines())


# ---------------------------------------------------------------- the end


def test_close_ends_it(opened: Opened):
    sandbox = opened({"a": "1"})
    sandbox.close()
    sandbox.close()
    for attempt in (lambda: sandbox.run("true"), sandbox.snapshot, lambda: sandbox.clean_room({}, "true")):
        with pytest.raises(SandboxFailure, match="closed"):
            attempt()


def test_a_context_closes_it(opened: Opened):
    with opened() as sandbox:
        assert sandbox.run("echo x").stdout == "x\n"
    with pytest.raises(SandboxFailure):
        sandbox.run("true")


def test_nothing_is_kept_after_many_sandboxes(opened: Opened):
    opened().run("true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with open_sandbox({"a": "1"}, kind="bubblewrap") as sandbox:
            sandbox.run("true", 60)
            sandbox.snapshot()
            sandbox.clean_room({}, "true", 60)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert threading.active_count() < 20


def test_a_fork_server_that_died_is_replaced(opened: Opened):
    first = opened()
    first.run("true")
    process = bubblewrap._fork_server().process
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(SandboxFailure):  # the kernel kills what bubblewrap held, in its own time
        first.run("sleep 60", 60)
    assert opened().run("echo again", 60).stdout == "again\n"


def test_the_fork_server_outlives_the_thread_that_started_it(opened: Opened):
    """bubblewrap dies with its parent thread, so that must not be the thread of whoever came first."""
    bubblewrap._fork_server().close()
    made: list[Sandbox] = []
    thread = threading.Thread(target=lambda: made.append(opened()))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert made[0].run("echo still", 60).stdout == "still\n"


@pytest.mark.usefixtures("_bubblewrap")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_rights_has_the_same_sandbox(tmp_path: Path):
    """The whole protocol as an ordinary user: Linux checks other things for root."""
    code = (
        "from custodes.environments.sandbox import open_sandbox\n"
        "with open_sandbox({'a/x': 'fixed', 'y': '1'}, read_only=['a/x'], kind='bubblewrap') as s:\n"
        "    s.run('rm -rf a; mkdir c; echo 2 > c/z; chmod 000 c/z c; echo new > y')\n"
        "    after = s.snapshot()\n"
        "    print(after['a/x'].content, after['c/z'].content, after['y'].content, s.run('id -u').stdout.strip())\n"
        "    print(s.clean_room({'x.py': b'print(6 * 7)'}, 'python3 x.py').stdout.strip())\n"
    )
    python = sys.executable
    trial = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", "import custodes"],
        capture_output=True,
        check=False,
        cwd="/",
    )
    if trial.returncode:
        pytest.skip("Python or Custodes are installed where no other user may read")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "b'fixed' b'2\\n' b'new\\n' 1000\n42\n"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"/etc/passwd": ""},), "relative"),
        (({"../x": ""},), "relative"),
        (({"a/../../x": ""},), "relative"),
        (({"a//b": ""},), "relative"),
        (({"./a": ""},), "relative"),
        (({"a/": ""},), "relative"),
        (({"": ""},), "not empty"),
        (({"a\0b": ""},), "NUL"),
        (({"x" * 256: ""},), "255"),
        (({"x/" * 3000 + "x": ""},), "4000"),
        (({"a": 1},), "text or bytes"),
        (({"a": "", "a/b": ""},), "a file and a folder"),
        (({"a": ""}, ["a"]), "a file and a folder"),
        (({}, ["../a"]), "relative"),
        (({"a": b"x" * (65 << 20)},), "disk_mb of 64"),
        (({str(i): "" for i in range(9000)},), "8192 paths"),
    ],
)
def test_homes_that_cannot_be_are_refused(arguments: tuple[object, ...], said: str):
    with pytest.raises(InputError, match=said):
        open_sandbox(*arguments)  # type: ignore[arg-type]


def test_read_only_paths_must_exist():
    with pytest.raises(InputError, match="'b' is neither a file nor a folder"):
        open_sandbox({"a": ""}, read_only=["b"])
    with pytest.raises(InputError, match="list of paths"):
        open_sandbox({"a": ""}, read_only="a")


def test_commands_and_seconds_are_checked(opened: Opened):
    sandbox = opened()
    for attempt, said in (
        (lambda: sandbox.run("a\0b"), "NUL"),
        (lambda: sandbox.run(5), "must be text"),  # type: ignore[arg-type]
        (lambda: sandbox.run("x" * (2 << 20)), "1,048,576"),
        (lambda: sandbox.run("true", 0), "positive"),
        (lambda: sandbox.run("true", float("nan")), "positive"),
        (lambda: sandbox.run("true", float("inf")), "positive"),
        (lambda: sandbox.clean_room({"../x": b""}, "true"), "relative"),
        (lambda: sandbox.clean_room({}, "a\0b"), "NUL"),
    ):
        with pytest.raises(InputError, match=said):
            attempt()
    assert sandbox.run("echo fine").stdout == "fine\n"


@pytest.mark.parametrize(
    "bad",
    [
        {"seconds": 0},
        {"memory_mb": -1},
        {"disk_mb": 1.5},
        {"processes": "x"},
        {"seconds": float("nan")},
        {"file_mb": True},
    ],
)
def test_limits_are_checked(bad: dict[str, object]):
    with pytest.raises(InputError, match=f"limits: {next(iter(bad))}"):
        Limits(**bad)  # type: ignore[arg-type]


def test_kinds_are_checked():
    with pytest.raises(InputError, match="bubblewrap"):
        open_sandbox({}, kind="chroot")  # type: ignore[arg-type]


# ---------------------------------------------------------------- refusal


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose PATH holds nothing but what a test puts there, and no fork server yet."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # root's sandboxes are another user's: no private folder
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("PATH", name)
        monkeypatch.setattr(bubblewrap, "_current", None)
        yield folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_without_bubblewrap_nothing_runs(bare: Path):
    with pytest.raises(InputError, match=r"bwrap\) is not installed.*sudo apt-get install bubblewrap"):
        open_sandbox({}, kind="bubblewrap")


def test_with_neither_both_reasons_are_said(bare: Path):
    with pytest.raises(InputError, match=r"no sandbox works here: bubblewrap.*; Docker is not installed"):
        open_sandbox({})


@pytest.mark.parametrize(
    "said",
    [
        "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.",
        "bwrap: setting up uid map: Permission denied",
        "bwrap: Creating new namespace failed: Operation not permitted",
    ],
)
def test_a_kernel_without_user_namespaces_is_named(bare: Path, said: str):
    program(bare, "bwrap", f"echo '{said}' >&2; exit 1")
    with pytest.raises(InputError, match=r"user namespaces.*sudo sysctl -w"):
        open_sandbox({}, kind="bubblewrap")


def test_a_broken_bubblewrap_is_quoted(bare: Path):
    program(bare, "bwrap", "echo 'error while loading shared libraries' >&2; exit 127")
    with pytest.raises(InputError, match=r"error while loading.*apt-get install"):
        open_sandbox({}, kind="bubblewrap")


@pytest.mark.usefixtures("_bubblewrap")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set the limit")
def test_a_kernel_that_really_forbids_user_namespaces():
    """Inside a user namespace of its own whose limit on further ones is zero: the machine's setting stays."""
    code = (
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "from custodes.environments.sandbox import open_sandbox\n"
        "try: open_sandbox({}, kind='bubblewrap'); print('opened')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "/proc/sys/user" in done.stderr:
        pytest.skip("this kernel lets nobody set the limit")
    assert done.stdout.startswith("InputError bubblewrap cannot make user namespaces here"), done.stdout + done.stderr
