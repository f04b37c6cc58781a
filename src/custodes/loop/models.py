"""The models that need nothing but a package index: what ``custodes models`` lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from custodes.job.command import command, in_words
from custodes.lm.cache import models_folder
from custodes.lm.embedded import EMBEDDED


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that need nothing but a package index."""


@command(recorded=False)
def models(config: Models) -> dict[str, dict[str, Any]]:
    """List the embedded models."""
    return {
        name: {
            "license": model.license,
            "requirement": model.requirement,
            "bytes": model.size,
            "folder": str(folder) if (folder := models_folder() / name).is_dir() else None,
        }
        for name, model in EMBEDDED.items()
    }


@in_words(models)
def _show(config: Models, listed: dict[str, dict[str, Any]]) -> None:
    for name, model in listed.items():
        state = f"in {model['folder']}" if model["folder"] else f"not fetched yet ({model['bytes'] / 1e6:.0f} MB)"
        print(f"{name}  {model['license']}  from {model['requirement']}  {state}")
