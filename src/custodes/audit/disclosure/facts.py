"""What a person adds to a disclosure: a YAML file with a text for any line. It is told as stated, not as recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from custodes.audit.disclosure.lines import DisclosureGroup, FilledLine
from custodes.feedback.project import read_fields, text_of
from custodes.page import NOT_RECORDED
from custodes.registry import nearest


def read_facts(path: Path, groups: Mapping[str, type[DisclosureGroup]]) -> dict[str, str]:
    """Key of a line -> what a person states. Raises InputError naming file, line and field, and the nearest name."""
    content, wrong = read_fields(text_of(path, "facts"), str(path))
    facts: dict[str, str] = {}
    for group, held in content.items():
        if group not in groups:
            raise wrong((group,), f"field {group!r} is unknown; did you mean {nearest(group, groups)!r}?")
        if held is None:
            continue
        if not isinstance(held, dict):
            raise wrong((group,), f"field {group!r} should hold fields such as {next(iter(groups[group].lines()))}")
        lines = groups[group].lines()
        for name, said in held.items():
            if name not in lines:
                meant = nearest(name, lines)
                raise wrong((group, name), f"field '{group}.{name}' is unknown; did you mean '{group}.{meant}'?")
            if isinstance(said, dict) or (isinstance(said, tuple) and any(isinstance(s, dict | tuple) for s in said)):
                raise wrong((group, name), f"field '{group}.{name}' should be a text or a list of texts")
            if isinstance(said, float) and not math.isfinite(said):
                raise wrong((group, name), f"field '{group}.{name}' is {said}, which says nothing; leave it out")
            if text := _as_text(said):
                facts[f"{group}.{name}"] = text
    return facts


def facts_template(filled: Iterable[FilledLine]) -> str:
    """A facts file with an empty field for every line that the record does not fill."""
    text = ["# What the record does not hold. Fill in what you know, and give the file with --facts.", ""]
    group = ""
    for line in filled:
        if line.status != NOT_RECORDED:
            continue
        of, _, name = line.key.partition(".")
        if of != group:
            text += [*([""] if group else []), f"{of}:"]
            group = of
        text += [f"  # {line.title}. {line.asks}", f'  {name}: ""']
    return "\n".join(text) + "\n"


def _as_text(said: Any) -> str:
    if said is None:
        return ""
    return ", ".join(map(str, said)) if isinstance(said, tuple) else str(said).strip()
