"""Docker by the same protocol. No Docker runs where the tests do: its arguments and refusals are tested, and the
supervisor of a container, with the same user and rights, in a container that bubblewrap makes for root.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from custodes.environments.sandbox import Limits, Sandbox, bubblewrap, open_sandbox
from custodes.environments.sandbox.docker import IMAGE, RIGHTS, _arguments
from custodes.types import InputError

# Does with bubblewrap what `docker run` does with the arguments of ours: the rights and the home are the same.
STAND_IN = f"""\
case "$1" in
version) echo 28.0.0 ;;
run)
  while [ "$1" != {IMAGE} ]; do shift; done
  shift
  exec /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin bwrap --unshare-pid --unshare-net --unshare-ipc --as-pid-1 \\
    --die-with-parent --new-session --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \\
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --perms 1777 --tmpfs /tmp --perms 0755 --tmpfs /home/user \\
    --remount-ro / --cap-drop ALL {" ".join(f"--cap-add CAP_{right}" for right in RIGHTS)} -- "$@" ;;
esac
"""


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_arguments_say_every_limit():
    given = _arguments(Limits(memory_mb=100, processes=9, disk_mb=7))
    assert given[: given.index(IMAGE)].count("run") == 1
    for wanted in (
        "--network=none",
        "--ipc=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--memory=100m",
        "--memory-swap=100m",
        "--pids-limit=10",
        "--rm",
    ):
        assert wanted in given
    assert any(a.startswith("--tmpfs=/home/user:") and "size=7m" in a for a in given)
    assert {a.partition("=")[2] for a in given if a.startswith("--cap-add")} == set(RIGHTS)
    assert not {"SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "MKNOD", "SYS_MODULE"} & set(RIGHTS)
    assert not [a for a in given if a.startswith(("-v", "--volume", "--mount", "--privileged", "--pid=", "-e"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1",
            "Cannot connect.*systemctl start docker",
        ),
        ("exit 1", "it said nothing.*systemctl start docker"),
        ("echo 'permission denied while trying to connect' >&2; exit 1", "permission denied"),
    ],
)
def test_a_docker_that_does_not_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str):
    program(tmp_path, "docker", text)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=said):
        open_sandbox({}, kind="docker")
    monkeypatch.setattr(bubblewrap, "_current", None)
    with pytest.raises(InputError, match=r"no sandbox works here.*bwrap"):
        open_sandbox({})


def test_without_docker_the_command_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"Docker is not installed: sudo apt-get install docker\.io"):
        open_sandbox({}, kind="docker")


# ---------------------------------------------------------------- the supervisor of a container


@pytest.fixture
def contained(_bubblewrap: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("only root can stand in for Docker")
    program(tmp_path, "docker", STAND_IN)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda *given, **named: open_sandbox(*given, kind="docker", **named)


def test_a_container_does_what_a_bubblewrap_sandbox_does(contained: Callable[..., Sandbox]):
    with contained({"a/b": "1", "x.py": "print(6 * 7)"}, ["d"]) as sandbox:
        assert sandbox.run("cd a; x=5; cat b; id -u").stdout == "11000\n"
        assert sandbox.run("pwd; echo $x; echo new > b; touch made ../d/made").stdout == "/home/user/a\n5\n"
        done = sandbox.run("sleep 100", 1)
        assert (done.timed_out, done.returncode) == (True, 137)
        assert sandbox.run("pwd").stdout == "/home/user/a\n"
        after = sandbox.snapshot()
        assert after["a/b"].content == b"new\n"
        assert set(after) == {"a", "a/b", "a/made", "d", "d/made", "x.py"}
        for command in ("python3 x.py", "echo $((6 * 7))"):
            assert sandbox.clean_room({"x.py": b"print(6 * 7)"}, command).stdout == "42\n"


@pytest.mark.parametrize("fixed", ["a/b/guard.py", "a/b", "a"])
def test_read_only_files_stay_in_a_container(contained: Callable[..., Sandbox], fixed: str):
    with contained({"a/b/guard.py": "good", "a/free": "1", "top": "1"}, read_only=[fixed]) as sandbox:
        for attempt in (
            "echo bad > a/b/guard.py",
            "rm -rf a",
            "mv a/b/guard.py x",
            "mv a/b a/c",
            "mv a c",
            "chmod 777 a a/b a/b/guard.py; echo bad > a/b/guard.py",
            "echo bad > new; mv -f new a/b/guard.py; ln -f new a/b/guard.py",
            "chmod 777 /home/user; mv /home/user /home/other",
        ):
            sandbox.run(attempt)
            assert sandbox.snapshot()["a/b/guard.py"].content == b"good", attempt
        assert sandbox.run("cd /home/user; echo 2 > top && rm top && mkdir made").returncode == 0


def test_commands_in_a_container_have_no_rights(contained: Callable[..., Sandbox]):
    with contained({}) as sandbox:
        status = sandbox.run(
            "grep -E '^(CapPrm|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2"
        ).stdout.split()
        assert status == ["0" * 16, "0" * 16, "1", "2"]
        sandbox.run("for s in KILL STOP INT TERM; do kill -$s 1; done; kill -9 -1", 2)
        assert sandbox.run("echo fine").stdout == "fine\n"
        assert sandbox.run("cat /proc/1/environ /proc/1/mem; ls /proc/1/fd").stdout == ""
        assert sandbox.run("unshare -Ur true; echo x > /usr/x; echo x > /dev/tcp/127.0.0.1/1").returncode != 0
        code = (
            b"print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('Uid', 'CapEff', 'Seccomp:'))])"
        )
        assert sandbox.clean_room({"x.py": code}, "python3 x.py").stdout == f"['1000', '{'0' * 16}', '2']\n"
