"""The people of a server approve or block, on its page *Oversight*.

A server that is away is waited for. Every question has a key: asked again after a kill, it is the same question, and an answer
that was given in between is not lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from rich.console import Console

from custodes.feedback.oversight import BY_RULE, Overseer, OverseerAnswer, OverseerLost, ProposedAction
from custodes.registry import overseer
from custodes.types import InputError
from custodes.web.client import Client

T = TypeVar("T")
TOKEN = "CUSTODES_TOKEN"
"""The environment variable with the token of the account that proposes; its scope is propose."""
LOOK = 5
"""Seconds for which one request waits for a person: a run that is stopped waits no longer."""
LONGEST_CONTEXT, LONGEST_ACTION = 1000, 100_000
"""Messages, and characters, that the server takes."""


@overseer
class People(Overseer):
    """Whoever is signed in at a server and may decide."""

    def __init__(self, address: str, timeout: float, rule: str, patience: float) -> None:
        """Raises InputError where there is no token, where it opens nothing, and where the address is no such server."""
        self.timeout, self.rule, self.patience = timeout, rule, patience
        self.console = Console(stderr=True)
        token = os.environ.get(TOKEN, "")
        if not token:
            raise InputError(
                f"--oversight {address} needs a token with the scope propose; put it into the environment variable {TOKEN}."
            )
        self.client = Client(address, token, patience=min(LOOK, patience / 4))
        try:
            self.client.approval("nothing-yet")
        except InputError as error:
            if getattr(error, "status", None) != 404 or "no such action" not in str(error):
                raise InputError(f"--oversight {address}: {error}") from None

    def answers(
        self, actions: Sequence[ProposedAction], stopped: Callable[[], bool]
    ) -> Iterator[tuple[int, OverseerAnswer]]:
        ids = [self._patiently(partial(self._propose, action), stopped) for action in actions]
        for i, id_ in enumerate(ids):
            while not stopped():
                found = self._patiently(partial(self.client.approval, id_, LOOK), stopped)
                if found["state"] != "waiting":
                    yield i, _read_answer(found)
                    break

    def _propose(self, action: ProposedAction) -> str:
        context = [message.to_dict() for message in action.context[-LONGEST_CONTEXT:]]
        return self.client.propose_action(
            action.policy,
            action.action[:LONGEST_ACTION] or "(an empty reply)",
            context,
            timeout=self.timeout,
            rule=self.rule,
            harmful=action.harmful,
            key=action.key,
        )

    def _patiently(self, ask: Callable[[], T], stopped: Callable[[], bool]) -> T:
        """Ask again while the server is away, for so many seconds. Raises OverseerLost afterwards, and where it refuses."""
        since, said = time.monotonic(), ""
        while True:
            try:
                answer = ask()
            except InputError as error:
                if hasattr(error, "status"):
                    raise OverseerLost(f"the overseers' server refuses: {error}") from None
                away = time.monotonic() - since
                if away > self.patience or stopped():
                    raise OverseerLost(f"the overseers' server has been away for {away:.0f} s: {error}") from None
                if not said:
                    said = time.strftime("%H:%M:%S")
                    self.console.print(
                        f"{error} It is asked again for up to {self.patience:g} s, since {said}; answers so far are kept.",
                        soft_wrap=True, highlight=False,
                    )  # fmt: skip
                time.sleep(min(1.0, self.patience))
                continue
            if said:
                self.console.print("The overseers' server answers again.")
            return answer


def _read_answer(found: dict[str, Any]) -> OverseerAnswer:
    try:
        who = BY_RULE if found["by"] == "rule" else found["who"]
        return OverseerAnswer(
            found["state"] == "approved", who, found["why"], float(found["seconds"] or 0.0), float(found["waited"])
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise OverseerLost(f"the overseers' server gave an answer of another form ({what}); is it a Custodes server?") from None  # fmt: skip
