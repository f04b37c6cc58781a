"""What was running: recorded with every run, so that it can be run again."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "custodes",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "vllm",
    "numpy",
    "scipy",
    "sqlalchemy",
)
"""Packages whose version can change a number."""


def now() -> str:
    """UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def invocation() -> dict[str, Any]:
    """When this process took up the run, and with what."""
    return {
        "started": now(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _commit() -> str | None:
    """Git commit of the checkout that this file belongs to, "-dirty" behind it if edited; None when installed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # An installed copy may lie inside somebody's repository without being part of it.
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], check=True, capture_output=True, timeout=5)
        described = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            check=True,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
