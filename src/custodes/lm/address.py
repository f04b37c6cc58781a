"""Engines by name: a model in this process, in vLLM, or behind a server, ``endpoint:URL#MODEL``. Each is imported where it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from custodes.lm.precision import DtypeName
from custodes.types import Engine, InputError

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

EngineName = Literal["torch", "vllm", "endpoint"]
"""torch: in this process. vllm: in this process too, for large accelerators. endpoint: behind a server."""

ENDPOINT = "endpoint:"
"""How the name of a model behind a server begins."""


def address(name: str, whose: str) -> tuple[str, str]:
    """``endpoint:URL#MODEL`` -> (base URL, model). Raises InputError where either is missing; ``whose`` says which option it was."""
    url, _, model = name.removeprefix(ENDPOINT).partition("#")
    if not url or not model:
        missing = "address" if not url else "model"
        raise InputError(
            f"{whose} {name!r} names no {missing}; write endpoint:URL#MODEL, e.g. endpoint:http://localhost:8000/v1#my-model."
        )
    return url, model


def open_endpoint(name: str, whose: str, **options: Any) -> EndpointEngine:
    """The engine that ``endpoint:URL#MODEL`` names, with further options of it. Raises InputError as :func:`address` does."""
    from custodes.lm.endpoint import EndpointEngine

    return EndpointEngine(*address(name, whose), **options)


def open_engine(
    name: EngineName,
    model: str,
    whose: str,
    *,
    adapter: Path | None = None,
    dtype: DtypeName = "auto",
    device: str = "auto",
) -> Engine:
    """An engine that draws replies of ``model``; ``endpoint:URL#MODEL`` is behind a server whatever ``name`` says.

    ``whose`` says which option named the model. Raises InputError where it cannot be opened, and for an adapter that the
    engine would not load.
    """
    if name == "endpoint" or model.startswith(ENDPOINT):
        if adapter is not None:
            raise InputError(f"{whose} {model} is behind a server, which takes no --adapter; let the server load it.")
        return open_endpoint(model, whose)
    if name == "vllm":
        if adapter is not None or (Path(model) / "adapter_config.json").is_file():
            raise InputError(
                f"vLLM is given whole models here; merge {adapter or model} first: custodes policy export --merge."
            )
        from custodes.lm.recommended import full_model_name, local_copy
        from custodes.lm.vllm import VllmEngine

        model = str(local_copy(full_model_name(model)) or full_model_name(model))
        return VllmEngine(model, dtype="bfloat16" if dtype == "auto" else dtype)
    from custodes.lm.engine import TorchEngine
    from custodes.lm.loading import load

    return TorchEngine(load(model, adapter=adapter, dtype=dtype, device=device))
