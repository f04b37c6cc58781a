"""Debian's Chromium for the tests of the screens; installed where it is missing and that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright


class Unavailable(Exception):  # noqa: N818 (a reason to skip, not an error)
    """Why no browser can be started here."""


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser for the time of the block. Raises Unavailable where that is impossible."""
    program = shutil.which("chromium") or _installed()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


def _installed() -> str:
    """Install Debian's package."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable("Chromium is not installed, and installing it takes root and apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with open(Path(tempfile.gettempdir()) / "install_chromium.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu"]):
            done = subprocess.run(["apt-get", "-q", *command], env=quiet, capture_output=True, text=True, timeout=600)
            if done.returncode and command[0] == "install":
                raise Unavailable(f"Chromium could not be installed: {done.stderr.strip()[-300:]}")
    program = shutil.which("chromium")
    if program is None:
        raise Unavailable("Debian's chromium package left no program of this name")
    return program
