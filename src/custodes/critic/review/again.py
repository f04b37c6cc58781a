"""The tests of findings, run again in a new sandbox: by whoever doubts them, and on code without the bug."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from custodes.critic.review.running import opened
from custodes.critic.review.surroundings import place_files
from custodes.environments.sandbox import Kind
from custodes.environments.sandbox.base import HOME

SECONDS = 5.0
"""Of processor time, after which a test is said not to end."""


def run_tests(
    texts: Mapping[str, str], tests: Mapping[str, Sequence[str]], sandbox: Kind = "auto"
) -> dict[str, list[str]]:
    """What each test of a file comes to: "" where it passes, "slow" where it does not end, else the exception.

    Args:
        texts: contents by file. What stands beside a file on disk can be imported.
        tests: for each of these files the tests to paste of its findings.
        sandbox: what isolates them.

    Raises InputError where no sandbox works, SandboxFailure where it breaks.
    """
    places, contents = place_files(texts)
    came: dict[str, list[str]] = {}
    with opened(contents, sandbox) as workshop:
        for place in places:
            rows = [{"text": test, "seconds": SECONDS} for test in tests.get(place.file, ())]
            where = {"path": f"{HOME}/{place.path}", "name": place.name, "alone": place.alone}
            job = {**where, "root": f"{HOME}/{place.root}", "tests": rows}
            came[place.file] = list(workshop.do("confirm", job)) if rows else []
    return came
