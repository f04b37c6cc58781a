"""What running showed of functions that did not change since: kept by content.

A function's answer holds as long as its file is the same, and every module beside it that the file imports, from module to module, the
installed packages, the tests, the options, and our own programs that run it. A finding is shown again only where its test fails again.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from custodes.critic.review.snippets import parsed_python
from custodes.critic.review.surroundings import Placed
from custodes.environments.sandbox.base import HOME
from custodes.files import save_json

HASTY = ("takes more than", "ended the interpreter", "could not be stopped")
"""Reasons that another day may not hold: the machine was busy."""


class KeptRuns:
    """Answers about functions in a folder; None keeps nothing, and a folder that cannot be written is as none."""

    def __init__(self, folder: Path | None, contents: Mapping[str, bytes], job: Mapping[str, Any]) -> None:
        """``contents`` are the files of the sandbox, ``job`` what is asked of every function."""
        self.folder, self.contents, self.job = folder and folder / "runs", contents, job
        self._digests: dict[str, str] = {}
        self._files: dict[str, str] = {}

    def read(self, place: Placed, file: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer that is kept about a function of a file, as the sandbox is asked of both."""
        if self.folder is None:
            return None
        try:
            return dict(json.loads(self._place(self.folder, place, file, function).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, place: Placed, file: Mapping[str, Any], function: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Keep an answer, unless its reason is one of :data:`HASTY`."""
        if self.folder is None or any(reason in row["reason"] for reason in HASTY):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_json(self._place(self.folder, place, file, function), dict(row), indent=None)
        except OSError:
            self.folder = None

    def _place(self, folder: Path, place: Placed, file: Mapping[str, Any], function: Mapping[str, Any]) -> Path:
        """Named by the function and all that decides what running shows of it."""
        if place.path not in self._files:
            around = sorted((str(PurePosixPath(p).relative_to(place.root)), self._of(p)) for p in self._needed(place))
            old = self._of(file["old"].removeprefix(f"{HOME}/")) if file["old"] else ""
            self._files[place.path] = _digest([place.name, place.alone, around, old, file["meant"]])
        return folder / f"{_digest([self._common, self._files[place.path], function])}.json"

    @cached_property
    def _common(self) -> str:
        """Of what decides about every function."""
        tests = [self._of(path.removeprefix(f"{HOME}/")) for path in self.job["seen"]]
        installed = sorted((path, len(data)) for path, data in self.contents.items() if path.startswith("lib/"))
        options = {name: value for name, value in self.job.items() if name not in ("files", "seen")}
        return _digest([_programs(), tests, installed, options])

    def _of(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(self.contents.get(path, b"")).hexdigest()
        return self._digests[path]

    def _needed(self, place: Placed) -> set[str]:
        """The file, modules beside it that it imports, from one to the next, and every file there that is no Python."""
        below = f"{place.root}/"
        found = {path for path in self.contents if path.startswith(below) and not path.endswith(".py")}
        left = [place.path]
        while left:
            path = left.pop()
            if path in found or path not in self.contents:
                continue
            found.add(path)
            packages = PurePosixPath(path).relative_to(place.root).parents
            left += [f"{below}{folder}/__init__.py" for folder in packages]
            left += _imported(self.contents[path].decode("utf-8", "replace"), path, place.root)
        return found


def _imported(text: str, path: str, root: str) -> Iterator[str]:
    """Where the modules may stand that a module imports, as far as they stand below ``root``."""
    tree = parsed_python(text.split("\n"))
    for node in ast.walk(tree) if isinstance(tree, ast.Module) else ():
        if isinstance(node, ast.Import):
            names = [(PurePosixPath(root), alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = PurePosixPath(root)
            if node.level:
                parents = PurePosixPath(path).parents
                base = parents[min(node.level, len(parents)) - 1]
            names = [(base, node.module or ""), *((base, f"{node.module or ''}.{a.name}") for a in node.names)]
        else:
            continue
        for base, name in names:
            place = base.joinpath(*(part for part in name.split(".") if part))
            yield f"{place}.py"
            yield f"{place}/__init__.py"


@cache
def _programs() -> str:
    """Of our own programs that run in the sandbox."""
    inside = resources.files("custodes.critic") / "inside"
    return _digest(sorted((p.name, p.read_text(encoding="utf-8")) for p in inside.iterdir() if p.name.endswith(".py")))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]
