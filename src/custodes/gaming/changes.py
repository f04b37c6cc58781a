"""Two snapshots of a home compared, and the files of one brought into a clean room."""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence

from custodes.environments.sandbox import FileState, Sandbox
from custodes.gaming.facts import FileChange

HOME = "/home/user"
MAX_DIFF = 4_000
"""Characters of one file's difference that are kept: enough to read an edit, and a record stays small."""
MAX_CHANGES = 50

Snapshot = Mapping[str, FileState]


def differs(before: Snapshot, after: Snapshot, path: str) -> bool:
    """Whether the path's kind or content is another (its permissions alone are no edit)."""
    was, now = (
        None if state is None else (state.kind, state.sha256, state.size if state.kind == "file" else 0)
        for state in (before.get(path), after.get(path))
    )
    return was != now


def put_back(before: Snapshot, along: Sequence[Snapshot], after: Snapshot, paths: Iterable[str]) -> set[str]:
    """The fact about paths that commands changed and that are as they were; ``along`` are the files after each command.

    "edited-and-restored" where the files after some command show it. Within one command only the time of the last change
    tells: "rewritten-unchanged", which writing the same content again is too.
    """
    same = [path for path in paths if path in before and not differs(before, after, path)]
    if any(differs(before, seen, path) for seen in along for path in same):
        return {"edited-and-restored"}
    written = [p for p in same if before[p].changed != after[p].changed and before[p].mode == after[p].mode]
    return {"rewritten-unchanged"} if written else set()


def file_changes(before: Snapshot, after: Snapshot) -> tuple[FileChange, ...]:
    """What differs, path by path, at most :data:`MAX_CHANGES`; folders only where they came or went."""
    changes = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if differs(before, after, path):
            how = "added" if was is None else "removed" if now is None else "kind" if was.kind != now.kind else "edited"
            changes.append(FileChange(path, how, _diff(path, was, now)))
        elif was is not None and now is not None and was.mode != now.mode:
            changes.append(FileChange(path, "mode", f"{was.mode:04o} -> {now.mode:04o}"))
    return tuple(changes[:MAX_CHANGES])


def contents(snapshot: Snapshot, sandbox: Sandbox | None = None) -> dict[str, bytes]:
    """path -> bytes of every file, links followed: a link is as good as the file it leads to when code is run.

    A snapshot says of a link only the hash of its target, so targets inside the home are found by their hash. One that
    leads elsewhere (``/tmp``) is read by the ``sandbox``, where there is one. Links that lead nowhere are left out.
    """
    files = {
        path: state.content for path, state in snapshot.items() if state.kind == "file" and state.content is not None
    }
    links = [path for path, state in snapshot.items() if state.kind == "symlink"]
    for _ in links:  # links to links: each round resolves at least one, or none is left that can be
        for link in [link for link in links if link not in files]:
            files |= _behind(link, snapshot, files)
    for link in [link for link in links if link not in files and not any(p.startswith(f"{link}/") for p in files)]:
        if sandbox is not None:
            read = sandbox.run(f"/bin/cat -- {shlex.quote(f'{HOME}/{link}')}")
            if read.returncode == 0 and not read.truncated:
                files[link] = read.stdout.encode()
    return files


def _behind(link: str, snapshot: Snapshot, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The file, or the files of the folder, that a link inside the home leads to, under the link's own path."""
    folder = os.path.dirname(link)
    for target in {*files, *(path for path, state in snapshot.items() if state.kind == "dir")}:
        relative = os.path.relpath(target, folder or ".")
        spellings = (f"{HOME}/{target}", relative, f"./{relative}", f"{HOME}/{target}/", f"{relative}/")
        if any(hashlib.sha256(s.encode()).hexdigest() == snapshot[link].sha256 for s in spellings):
            inside = {f"{link}{p.removeprefix(target)}": c for p, c in files.items() if p.startswith(f"{target}/")}
            return {link: files[target]} if target in files else inside
    return {}


def _diff(path: str, was: FileState | None, now: FileState | None) -> str:
    old, new = _lines(was), _lines(now)
    if old is None or new is None:
        kinds = [state.kind if state else "nothing" for state in (was, now)]
        return "" if kinds in (["nothing", "dir"], ["dir", "nothing"]) else f"{kinds[0]} -> {kinds[1]} (not text)"
    text = "\n".join(difflib.unified_diff(old, new, f"before/{path}", f"after/{path}", lineterm="", n=2))
    return text if len(text) <= MAX_DIFF else f"{text[:MAX_DIFF]}\n... ({len(text) - MAX_DIFF:,} more characters)"


def _lines(state: FileState | None) -> list[str] | None:
    """Lines of a text file of reasonable size, [] where there is none; None for everything else."""
    if state is None:
        return []
    if state.kind != "file" or state.content is None or len(state.content) > 200_000:
        return None
    try:
        return state.content.decode().splitlines()
    except UnicodeDecodeError:
        return None
