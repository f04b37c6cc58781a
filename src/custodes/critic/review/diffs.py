"""Lines that changed since a revision, as git says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from custodes.types import InputError

HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def changed_lines(revision: str, paths: Sequence[str]) -> dict[str, set[int]]:
    """Python files that differ from ``revision`` -> their new lines; files that git does not track are left out.

    Paths come back as they can be opened from the current folder. Raises InputError where git knows no such revision.
    """
    if revision.startswith("-"):
        raise InputError(f"--diff {revision!r} is no revision.")
    names = _git("diff", "--name-only", "--diff-filter=d", "-z", "--relative", revision, "--", *paths)
    found = {}
    for name in names.split("\0"):
        if name.endswith(".py") and Path(name).is_file():
            lines: set[int] = set()
            for start, count in HUNK.findall(
                _git("diff", "-U0", "--no-color", "--no-ext-diff", "--relative", revision, "--", name)
            ):
                lines |= set(range(int(start), int(start) + int(count or 1)))
            found[name] = lines
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("--diff needs git, which is not installed.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"git cannot say what changed ({(said or ['no reason given'])[0]}).")
    return done.stdout.decode("utf-8", "surrogateescape")
