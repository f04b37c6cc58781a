"""Lines that changed since a revision, as git says."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from custodes.critic.review.snippets import SUFFIXES, is_ours, lines_of, read_text
from custodes.types import InputError

HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
MOST_MESSAGES = 3
DIFF = ("-c", "diff.relative=false", "--literal-pathspecs", "diff")


def lines_changed_since(revision: str, paths: Sequence[str]) -> dict[str, set[int]]:
    """Files that differ from ``revision`` -> their new lines; all lines of those that git does not track yet.

    Python files and notebooks in the whole repository, or below ``paths``; files that ``paths`` names, whatever they are. What git
    ignores is left out, and untracked files in folders that are hidden or made by others. Names are as they can be opened
    from the current folder. Raises InputError for a path that is not there, and where git knows no such revision.
    """
    if revision.startswith("-"):
        raise InputError(f"--diff {revision!r} is no revision.")
    for path in paths:
        if path == "-":
            raise InputError("- is standard input, which git does not know; with --diff name files or folders.")
        if not os.path.lexists(path):
            raise InputError(f"there is no file or folder {path!r} to review.")
    top = _git("rev-parse", "--show-toplevel").removesuffix("\n")
    roots = [Path(os.path.realpath(path)) for path in paths] or [Path(top)]
    below, found = list(paths) or [top], {}
    for file in _files(top, *DIFF, "--name-only", "--diff-filter=d", "-z", revision, "--", *below):
        if file.suffix in SUFFIXES or file in roots:
            hunks = _git(*DIFF, "-U0", "--no-color", "--no-ext-diff", "--no-textconv", revision, "--", str(file))
            added = ((int(start), int(count or 1)) for start, count in HUNK.findall(hunks))
            found[os.path.relpath(file)] = {line for start, count in added for line in range(start, start + count)}
    others = ("--literal-pathspecs", "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", *below)
    for file in _files(top, *others):
        ours = any(root in file.parents and is_ours(file.relative_to(root)) for root in roots)
        if file in roots or (file.suffix in SUFFIXES and ours):
            shown = os.path.relpath(file)
            found[shown] = set(range(1, len(lines_of(read_text(shown)[0])) + 1))
    return found


def versions_before(revision: str, files: Iterable[str]) -> dict[str, str]:
    """Contents of files at a revision; those that were not there yet are left out."""
    top = Path(_git("rev-parse", "--show-toplevel").removesuffix("\n"))
    found = {}
    for file in files:
        with contextlib.suppress(InputError, ValueError):
            found[file] = _git("show", f"{revision}:{Path(os.path.realpath(file)).relative_to(top).as_posix()}")
    return found


def messages_since(revision: str) -> str:
    """What the commits since a revision say; "" where there are none, or more than are about one change."""
    said = _git("log", "--format=%B%x00", f"{revision}..HEAD").split("\0")
    messages = [text.strip() for text in said if text.strip()]
    return "\n".join(messages) if len(messages) <= MOST_MESSAGES else ""


def _files(top: str, *arguments: str) -> list[Path]:
    """The files that git names from the repository's folder, as far as they are there."""
    return [file for name in _git(*arguments).split("\0") if name and (file := Path(top, name)).is_file()]


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise InputError("--diff needs git, which is not installed.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"git cannot say what changed ({(said or ['no reason given'])[0]}).")
    return done.stdout.decode("utf-8", "surrogateescape")
