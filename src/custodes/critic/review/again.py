"""A sandbox with reviewed files in it, and the tests of findings, run again there: on code as it is, or without its bug."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from custodes.critic.review.surroundings import Placed, place_files
from custodes.critic.sources import TEST_TOOLS, Package
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import Kind, Limits
from custodes.types import InputError

TOOLS = ("hypothesis", "sortedcontainers")
RUN_LIMITS = Limits(seconds=600, memory_mb=1000, disk_mb=320, file_mb=64, output_bytes=1 << 26, processes=64)
SECONDS = 5.0
"""Of processor time, after which a test is said not to end."""


def opened(contents: Mapping[str, bytes], sandbox: Kind, tests: bool = False) -> Workshop:
    """A sandbox with reviewed files in it, and with what runs ``tests``. Raises InputError where none works."""
    reviewed = Package("the reviewed code", "", "", "", "", files={}, sources={})
    try:
        return Workshop(reviewed, contents, sandbox, (*TOOLS, *(TEST_TOOLS if tests else ())), RUN_LIMITS)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}. To review without running anything: --no-evidence.") from None


def run_tests(
    texts: Mapping[str, str], tests: Mapping[str, Sequence[str]], sandbox: Kind = "auto"
) -> dict[str, list[str]]:
    """What each test of a file comes to, in a new sandbox; see :func:`outcomes`.

    Args:
        texts: contents by file. What stands beside a file on disk can be imported.
        tests: for each of these files the tests to paste of its findings.
        sandbox: what isolates them.

    Raises InputError where no sandbox works, SandboxFailure where it breaks.
    """
    places, contents = place_files(texts)
    with opened(contents, sandbox) as workshop:
        return {place.file: outcomes(workshop, place, tests.get(place.file, ())) for place in places}


def outcomes(workshop: Workshop, place: Placed, tests: Sequence[str]) -> list[str]:
    """What each test of a file comes to: "" where it passes, "slow" where it does not end, else the exception.

    Raises SandboxFailure where the sandbox breaks.
    """
    rows = [{"text": test, "seconds": SECONDS} for test in tests]
    return list(workshop.do("confirm", {**place.inside, "tests": rows})) if rows else []
