"""Models that are recommended beside the embedded one: short names for hub ids, and where a copy without the hub is looked for.

Parameters and licences are those of the models' cards. Bytes are two for each parameter, as bfloat16 weights take.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custodes.lm.cache import models_folder


@dataclass(frozen=True, slots=True)
class _RecommendedModel:
    """A model by its id on the hub."""

    hub: str
    parameters: float  # billions
    license: str
    good_for: str

    @property
    def size(self) -> int:
        """Bytes of the weights in bfloat16."""
        return round(self.parameters * 2e9)


CODE = "reviewing code: proposes what a function promises, and writes critiques"
CHAT = "policies and judges beyond the embedded model"
RECOMMENDED = {
    "qwen2.5-coder-0.5b": _RecommendedModel("Qwen/Qwen2.5-Coder-0.5B-Instruct", 0.49, "apache-2.0", CODE),
    "qwen2.5-coder-1.5b": _RecommendedModel("Qwen/Qwen2.5-Coder-1.5B-Instruct", 1.54, "apache-2.0", CODE),
    "qwen2.5-coder-7b": _RecommendedModel("Qwen/Qwen2.5-Coder-7B-Instruct", 7.61, "apache-2.0", f"{CODE}; on a GPU"),
    "qwen2.5-0.5b": _RecommendedModel("Qwen/Qwen2.5-0.5B-Instruct", 0.49, "apache-2.0", CHAT),
    "smollm2-360m": _RecommendedModel("HuggingFaceTB/SmolLM2-360M-Instruct", 0.36, "apache-2.0", CHAT),
    "smollm2-1.7b": _RecommendedModel("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1.71, "apache-2.0", CHAT),
}


def full_model_name(name: str) -> str:
    """The hub id of a short name; any other name, and one that is a path here, as it is."""
    known = RECOMMENDED.get(name.lower())
    return known.hub if known and not Path(name).exists() else name


def local_copy(hub: str) -> Path | None:
    """A folder or GGUF file with a recommended model's short name among the prepared models, for machines without the hub."""
    for place in places_of(hub):
        if place.is_file() or place.is_dir():
            return place
    return None


def places_of(hub: str) -> list[Path]:
    """Where such a copy is looked for; none for a model that is not recommended."""
    short = next((name for name, model in RECOMMENDED.items() if model.hub == hub), None)
    return [models_folder() / short, models_folder() / f"{short}.gguf"] if short else []
