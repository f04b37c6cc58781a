"""Debian's Chromium for the tests of the screens; installed where it is missing and that is possible."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from debian import Unavailable, install
from playwright.sync_api import Browser, sync_playwright

__all__ = ["Unavailable", "browser"]


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
    install("Chromium", "chromium", "fonts-dejavu")
    program = shutil.which("chromium")
    if program is None:
        raise Unavailable("Debian's chromium package left no program of this name")
    return program
