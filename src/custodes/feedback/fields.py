"""Texts in a browser's fields: there every line ends with LF, whatever the stored text has (HTML, the field's API value)."""

from __future__ import annotations

import re

_ENDS = re.compile(r"\r\n|\r|\n")


def in_field(text: str) -> str:
    """``text`` as a field holds it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stored_place(text: str, place: int) -> int:
    """The place in ``text`` of the character at ``place`` in its field, both in characters from 0."""
    for end in re.finditer("\r\n", text):
        if end.start() >= place:
            break
        place += 1
    return place


def restored(text: str, edited: str) -> str:
    """What was edited in a field that began as ``text``, with the line ends that ``text`` has.

    What nobody changed is exactly as it was. Lines within the change end as most of the text's do.
    """
    shown, edited = in_field(text), in_field(edited)
    if shown == text:
        return edited
    if shown == edited:
        return text
    head = _alike(shown, edited)
    tail = _alike(shown[head:][::-1], edited[head:][::-1])
    ends = _ENDS.findall(text)
    usual = max(dict.fromkeys(ends), key=ends.count)
    changed = edited[head : len(edited) - tail].replace("\n", usual)
    whole = text[: stored_place(text, head)] + changed + text[stored_place(text, len(shown) - tail) :]
    return whole if in_field(whole) == edited else edited.replace("\n", usual)  # two ends that met would be one


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
