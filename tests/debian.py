"""Programs that tests need and Debian has: installed where they are missing and that is possible, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


class Unavailable(Exception):  # noqa: N818 (a reason to skip, not an error)
    """Why something cannot be had here."""


def install(what: str, *packages: str) -> None:
    """Install packages; ``what`` names them in the reason. Raises Unavailable."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{what} is not installed, and installing it takes root and apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    waiting = ["-o", "DPkg::Lock::Timeout=300"]
    with open(Path(tempfile.gettempdir()) / "install_for_tests.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            words = ["apt-get", "-q", *waiting, *command]
            done = subprocess.run(words, env=quiet, capture_output=True, text=True, timeout=600)
            if done.returncode and command[0] == "install":
                raise Unavailable(f"{what} could not be installed: {done.stderr.strip()[-300:]}")
