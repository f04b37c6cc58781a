"""An earlier version of a file beside the new one: inputs on which they differ where nobody says that they should."""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import calls
import values
from inputs import Call
from judging import Verdict
from subject import Broken, Promise, Subject, materialised, told

SAME_MEANT = re.compile(
    r"refactor|renam|clean[- ]?up|no functional change|no behaviou?r(?:al)? change|typing|type hints?|annotat|docstring|comment|format|\blint|style"
    r"|speed|faster|performance|optimi[sz]|simplif|tidy|pyupgrade|moderni[sz]|deduplicat|extract|inline|moved?\b|cosmetic|reorgani[sz]",
    re.IGNORECASE,
)
CHANGE_MEANT = re.compile(
    r"\bfix|\bbug|correct|\badd|support|chang|feature|behaviou?r(?! change)|wrong|handle|allow|instead|now\b|new\b|error|crash",
    re.IGNORECASE,
)


def load_old(path: str, new: types.ModuleType) -> types.ModuleType:
    """The earlier version as a module of the same package, which no import finds."""
    old = types.ModuleType(new.__name__)
    old.__file__, old.__package__ = path, new.__package__
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), vars(old))
    sys.modules[new.__name__] = new
    return old


def compare_verdicts(new: list[Verdict], old: list[Verdict]) -> None:
    """Note of each broken example what the earlier version did; one that both break in the same way is in doubt itself."""
    before = {(v.example.source, v.example.line): v for v in old}
    held = any(v.state == "kept" for v in new)
    for v in new:
        w = before.get((v.example.source, v.example.line))
        if v.state != "broken" or w is None:
            continue
        if w.state == "kept":
            v.note, v.confidence = "it held before the change", max(v.confidence, 0.97)
        elif w.state == "broken" and w.came == v.came:
            v.note = "it failed before the change too"
            v.wrong = v.wrong or ("old and new version agree on another value" if held and v.line == 0 else "")


def as_before(s: Subject, old: Any, meant: str, path: str) -> Iterator[Promise]:
    """The new version gives what the old one gave: promised where the message means no change, else only against exceptions."""
    try:
        if list(inspect.signature(old).parameters) != list(s.signature.parameters):
            return
    except (TypeError, ValueError):
        return
    said = SAME_MEANT.search(meant)
    same = bool(said) and not CHANGE_MEANT.search(meant)

    def check(call: Call) -> Broken | None:
        was = s.invoke(call, old)
        if was.end or was.error is not None:
            return None
        before = materialised(was.value)
        now = s.invoke(call)
        if now.end or (now.error is None and (values.same(now.value, before) or not same)):
            return None
        if now.error is not None and not same and not stray(s, now):
            return None
        text = values.source_of(before)
        return (
            Broken(told(now), f"{values.shown(before)}, as before the change", [f"assert CALL == {text}"], now.line)
            if text
            else None
        )

    by = (
        f'the message "{" ".join(meant.split())[:80]}", which means no change'
        if same
        else "the version before, which raised nothing"
    )
    yield Promise("as before", by, 0.85 if same else 0.7, check)


def stray(s: Subject, now: calls.Outcome) -> bool:
    """Whether an exception is one that nobody raises on purpose."""
    lines = s.source.split("\n")
    at = now.line - s.first
    raised = 0 <= at < len(lines) and re.search(r"\braise\b|\bassert\b", lines[at])
    return bool(
        now.line and not raised and type(now.error).__name__ not in s.source and type(now.error).__name__ not in s.doc
    )
