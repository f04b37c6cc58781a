"""Sandboxes of Docker, by the same protocol: a container for every home, another for every clean room.

The same supervisor runs in it as the container's root, with the rights to change owner and user and to kill, and
nothing else; commands run as another user without any. Slower than bubblewrap by the start of a container.
"""

from __future__ import annotations

import shutil
import socket
import subprocess

from custodes.environments.sandbox.base import HOME, Limits, SandboxFailure
from custodes.environments.sandbox.client import BOOTSTRAP, SupervisorClient, sources
from custodes.types import InputError

IMAGE = "python:3.12-slim"  # bash, coreutils and Python 3.9 or newer are what an image needs
INSTALL = "sudo apt-get install docker.io"
RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


class ContainerClient(SupervisorClient):
    """A running container whose first process is a supervisor. Raises InputError where Docker does not work."""

    def __init__(self, limits: Limits) -> None:
        _check_docker()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                ["docker", *_arguments(limits)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )
        super().__init__(ours, limits)
        try:
            ours.sendall(sources("container"))
        except OSError as error:
            self.close()
            raise SandboxFailure(f"the container did not start: {error}") from error

    def close(self) -> None:
        super().close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _arguments(limits: Limits) -> list[str]:
    """``docker``'s arguments: no network, no rights but the supervisor's, read-only but for the home and /tmp."""
    disk = f"rw,nosuid,nodev,size={limits.disk_mb}m,nr_inodes={256 * limits.disk_mb}"
    return [
        *("run", "--rm", "--interactive", "--network=none", "--ipc=none", "--hostname=sandbox", "--read-only"),
        *("--cap-drop=ALL", *(f"--cap-add={right}" for right in RIGHTS)),
        *("--security-opt=no-new-privileges", "--user=0:0", f"--workdir={HOME}"),
        *(f"--memory={limits.memory_mb}m", f"--memory-swap={limits.memory_mb}m"),
        f"--pids-limit={limits.processes + 1}",
        *(f"--tmpfs={HOME}:{disk},mode=0755,exec", f"--tmpfs=/tmp:{disk},mode=1777,exec"),
        *(IMAGE, "python3", "-I", "-c", BOOTSTRAP),
    ]


def _check_docker() -> None:
    """Raises InputError with the reason why Docker cannot be used, and the command that helps."""
    if not shutil.which("docker"):
        raise InputError(f"Docker is not installed: {INSTALL}")
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError("Docker does not answer within 30 s: sudo systemctl restart docker") from None
    if asked.returncode:
        said = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"Docker does not run ({said.rstrip('.')}): sudo systemctl start docker")
