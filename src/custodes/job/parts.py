"""Long work that is done piece by piece for one file, and kept beside it: the same command again goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from custodes.files import save_json
from custodes.job.invocation import begin
from custodes.job.locks import alone_in
from custodes.job.progress import Progress

T = TypeVar("T")
CHUNK = 32
"""What is asked between two writes: what an interruption costs at most."""


class Parts:
    """What is known by key, in the folder ``FILE.parts`` beside the FILE that will be written. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.recording = folder, begin()
        if self.recording is not None:
            self.recording.rely(folder)
        self.known: dict[str, Any] = {}
        for file in sorted(folder.glob("*.json")):
            self.known |= json.loads(file.read_text())

    @classmethod
    @contextmanager
    def open(cls, out: Path, identity: Mapping[str, Any], name: str = "") -> Iterator[Self]:
        """Hold ``FILE.parts`` for as long as the block lasts; several may lie there side by side, each by its ``name``.

        ``identity`` is everything that decides the answers: with another one nothing is known yet. Raises InputError
        where what is known is not what was recorded, and where another process is at work there.
        """
        folder = out.with_name(f"{out.name}.parts") / (name + _hash(json.dumps(dict(identity), sort_keys=True)))
        with alone_in(folder):
            yield cls(folder)

    def answer(self, key: str, answer: Callable[[], Any]) -> Any:
        """What is known by this key, or becomes known: something that JSON has."""
        if key not in self.known:
            self._keep({key: answer()})
        return self.known[key]

    def answers(
        self, asked: Mapping[str, T], answer: Callable[[Sequence[T]], Sequence[Any]], doing: str, chunk: int = CHUNK
    ) -> list[Any]:
        """The same for everything that is asked, in its order; ``answer`` is given up to ``chunk`` that are not known yet."""
        left = [key for key in asked if key not in self.known]
        with Progress() as progress:
            bar = progress.add_task(doing, total=len(asked), completed=len(asked) - len(left))
            for start in range(0, len(left), chunk):
                part = left[start : start + chunk]
                self._keep(dict(zip(part, answer([asked[key] for key in part]), strict=True)))
                progress.advance(bar, len(part))
        return [self.known[key] for key in asked]

    def _keep(self, found: dict[str, Any]) -> None:
        path = self.folder / f"{_hash(''.join(found))}.json"
        save_json(path, found, indent=None)
        if self.recording is not None:
            self.recording.keep(path)
        self.known |= found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
