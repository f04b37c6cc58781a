"""Whether anybody is behind an endpoint, and what one refusal among many requests means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

X = TypeVar("X")
Y = TypeVar("Y")
FIRST_ANSWER = 20.0
"""Seconds that a server may take to say which models it has."""


def reach(engine: EndpointEngine) -> None:
    """Ask the server which models it has, and give up soon.

    Raises :class:`~custodes.lm.endpoint.EndpointDown` where nothing answers, or the key or the model is refused.
    """
    replace(engine, max_retries=1, timeout=min(engine.timeout, FIRST_ANSWER)).continues()


class Asker:
    """Asks an engine many things at once, and one by one where it refuses them together.

    One request that is too long for the context must not take the others with it.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.worked = False  # some answer was drawn, so that what fails is a request and not the engine

    def each(self, items: Sequence[X], ask: Callable[[Sequence[X]], list[Y]], refusal: Callable[[str], Y]) -> list[Y]:
        """``ask(items)``, with ``refusal(why)`` for an item that the engine refuses among others.

        Raises InputError where nobody answers any more (the run stops and can be taken up again), and where the engine has
        refused everything so far.
        """
        try:
            answers = ask(items)
            self.worked = True
            return answers
        except InputError as error:
            if self._is_down(error, len(items)):
                raise
            refused = error
        answers = []
        for item in items:
            try:
                answers += ask([item]) if len(items) > 1 else [refusal(str(refused))]
                self.worked |= len(items) > 1
            except InputError as error:
                refused = error
                answers.append(refusal(str(error)))
        if not self.worked:
            raise refused
        return answers

    def _is_down(self, error: InputError, asked: int) -> bool:
        """Whether ``error`` is the server's and not a request's, so that to ask again one by one would be in vain.

        A single request that nobody answered may itself be what takes too long: then the server is asked for a sign of life.
        """
        from custodes.lm.endpoint import EndpointDown  # here, since scripted policies do without deep learning

        if not isinstance(error, EndpointDown) or asked > 1:
            return isinstance(error, EndpointDown)
        try:
            reach(self.engine)
        except EndpointDown:
            return True
        return False
