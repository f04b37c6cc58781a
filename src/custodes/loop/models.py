"""The embedded model, and recommended ones: what ``custodes models`` lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from custodes.job.command import command, in_words
from custodes.lm.cache import models_folder
from custodes.lm.embedded import EMBEDDED
from custodes.lm.recommended import RECOMMENDED, local_copy


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the embedded model and recommended ones: size, licence, and what they are good for."""


@command(recorded=False)
def models(config: Models) -> dict[str, dict[str, Any]]:
    """List the embedded model, which needs nothing but a package index, and recommended ones of the hub.

    The name of each can be given wherever a command takes a model.
    """
    listed: dict[str, dict[str, Any]] = {}
    for name, model in EMBEDDED.items():
        folder = models_folder() / name
        listed[name] = {
            "hub": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "license": model.license,
            "requirement": model.requirement,
            "bytes": model.size,
            "good_for": "first steps, tests and lines that may be wrong; embedded: a package index is enough",
            "folder": str(folder) if folder.is_dir() else None,
        }
    for name, known in RECOMMENDED.items():
        listed[name] = {
            "hub": known.hub,
            "license": known.license,
            "requirement": None,
            "bytes": known.size,
            "good_for": known.good_for,
            "folder": str(_fetched(known.hub) or "") or None,
        }
    return listed


@in_words(models)
def _show(config: Models, listed: dict[str, dict[str, Any]]) -> None:
    for name, model in listed.items():
        size = f"{model['bytes'] / 1e6:,.0f} MB"
        state = f"in {model['folder']}" if model["folder"] else "not fetched yet"
        print(f"{name:<20}{size:>10}  {model['license']:<11} {model['hub']}")
        print(f"{'':<20}{'':>10}  {model['good_for']}; {state}")


def _fetched(hub: str) -> Any:
    """Where a model of the hub is on this machine, if it is."""
    if (copy := local_copy(hub)) is not None:
        return copy
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub, "config.json")
    return config.rsplit("/", 1)[0] if isinstance(config, str) else None
