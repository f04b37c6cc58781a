"""bubblewrap for the tests: installed where it is missing, as tests/postgres.py does for PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def missing() -> str | None:
    """Why bubblewrap cannot be had here; None once it is there."""
    if shutil.which("bwrap"):
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "bubblewrap is not installed, and installing it takes root and apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(Path(tempfile.gettempdir()) / "install_bubblewrap.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "-y", "--no-install-recommends", "bubblewrap"]):
            done = subprocess.run(["apt-get", "-q", *command], env=quiet, capture_output=True, text=True, timeout=600)
            if done.returncode and command[0] == "install":
                return f"bubblewrap could not be installed: {done.stderr.strip()[-300:]}"
    return None if shutil.which("bwrap") else "Debian's bubblewrap package left no bwrap"
