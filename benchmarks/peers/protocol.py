"""How a peer is driven: it works when a line comes on standard input, and answers with one JSON line.

The peer is loaded once and then takes turns with this project, so both meet the same machine.
"""

import json
import os
import sys
import time
from collections.abc import Callable

from result import versions

# Libraries print what they like: that goes to standard error, and only answers to the pipe.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def serve(work: Callable[[str], float]) -> None:
    """For each workload that is asked for, do it and answer its seconds and how much was done."""
    clock = Clock()
    while True:
        clock.stop(work(clock.wait_and_start()))


class Clock:
    """For a peer that owns its loop: wait for a turn, and say what the turn took."""

    def __init__(self) -> None:
        self._answer({"ready": True, "versions": versions()})

    def wait_and_start(self) -> str:
        """The workload that is asked for; ends the process when no more is asked."""
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        self._began = time.perf_counter()
        return line.strip()

    def stop(self, amount: float) -> None:
        self._answer({"seconds": time.perf_counter() - self._began, "amount": amount})

    def _answer(self, content: dict) -> None:
        _answers.write(json.dumps(content) + "\n")
        _answers.flush()
