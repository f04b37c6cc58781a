"""Models behind a server, by name: ``endpoint:URL#MODEL``. Apart from the client, which takes a while to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

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
