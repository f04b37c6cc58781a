"""Long work that is done piece by piece and kept: the same command again goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from custodes.files import save_json
from custodes.job.progress import Progress
from custodes.job.recording import begin, keep_part

T = TypeVar("T")
CHUNK = 32
"""What is asked between two writes: what an interruption costs at most."""


class Parts:
    """What is known by id, in the folder ``FILE.parts`` beside the FILE that will be written.

    ``identity`` is everything that decides the answers: with another one nothing is known yet. Raises InputError where
    what is known is not what was recorded.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.folder = out.with_name(out.name + ".parts") / _hash(json.dumps(dict(identity), sort_keys=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        if (recording := begin()) is not None:
            recording.rely(self.folder)
        self.known: dict[str, Any] = {}
        for file in sorted(self.folder.glob("*.json")):
            self.known |= json.loads(file.read_text())

    def answer(self, key: str, answer: Callable[[], Any]) -> Any:
        """What is known by this id, or becomes known: something that JSON has."""
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
        keep_part(path)
        self.known |= found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
