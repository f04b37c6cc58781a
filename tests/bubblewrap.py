"""bubblewrap for the tests: installed where it is missing."""

from __future__ import annotations

import shutil

from debian import Unavailable, install


def missing() -> str | None:
    """Why bubblewrap cannot be had here; None once it is there."""
    if shutil.which("bwrap"):
        return None
    try:
        install("bubblewrap", "bubblewrap")
    except Unavailable as reason:
        return str(reason)
    return None if shutil.which("bwrap") else "Debian's bubblewrap package left no bwrap"
