"""Whether there is anybody behind an endpoint: where there is not, each request would take all of its retries in vain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

FIRST_ANSWER = 20.0
"""Seconds that a server may take to say which models it has."""


def reach(engine: EndpointEngine) -> None:
    """Ask the server which models it has, and give up soon.

    Raises :class:`~custodes.lm.endpoint.EndpointDown` where nothing answers, or the key or the model is refused.
    """
    replace(engine, max_retries=1, timeout=min(engine.timeout, FIRST_ANSWER)).continues()


def is_down(engine: Any, error: InputError, asked: int) -> bool:
    """Whether ``error`` is the server's and not a request's, so that to ask again one by one would be in vain.

    A single request that nobody answered may itself be what takes too long: then the server is asked for a sign of life.
    """
    from custodes.lm.endpoint import EndpointDown  # here, since scripted policies do without deep learning

    if not isinstance(error, EndpointDown) or asked > 1:
        return isinstance(error, EndpointDown)
    try:
        reach(engine)
    except EndpointDown:
        return True
    return False
