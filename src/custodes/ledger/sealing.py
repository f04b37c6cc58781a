"""Bodies hashed field by field, each with a salt of its own: a field can be withdrawn and the chain still verifies.

A body begins with its seal, the field ``~``: 16 random bytes. They give a salt for each field. The digest of a field is the
SHA-256 of salt, path and JSON text; the row's hash covers the digests. Whoever withdraws a field leaves its digest and takes
its salt away, so a short text cannot be guessed from the digest. Rows of ledger format 0001 have no seal, and are
hashed as they stand.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from json.scanner import make_scanner
from typing import Any

SEAL = "~"
"""The field of a body that holds its seal."""

_SEAL, _SEALED, _LENGTH = '"~"', '{"~":', 40  # characters of a fresh seal with the brace before and the comma behind it
_SALT, _DIGEST = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{64}")
_scan: Callable[[str, int], tuple[Any, int]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
"""(value, where it ends) of the JSON value at a place of a text."""


def seal(body: str) -> str:
    """``body`` with a fresh seal."""
    return f'{_SEALED}"{secrets.token_hex(16)}"{"," if body != "{}" else ""}{body[1:]}'


def unsealed(body: str) -> dict[str, Any]:
    """The fields of a body without its seal."""
    fields = json.loads(body)
    fields.pop(SEAL, None)
    return dict(fields)


def is_same(stored: str, wanted: str) -> bool:
    """Whether a stored body says what ``wanted`` says, which has no seal; withdrawn fields say nothing."""
    if (stored.startswith(_SEALED) and "{" + stored[_LENGTH:] == wanted) or stored == wanted:
        return True
    new = unsealed(wanted)
    for path in withdrawn_of(stored):
        name, *inner = json.loads(path)
        if inner and isinstance(new.get(name), dict):
            new[name].pop(inner[0], None)
        if not inner or not new.get(name):
            new.pop(name, None)
    return new == unsealed(stored)


def withdrawn_of(body: str) -> dict[str, str]:
    """Path -> digest of what was withdrawn from a body; the digest is "" in rows of format 0001."""
    return dict(json.loads(body)[SEAL]["withdrawn"]) if body.startswith(_SEALED + "{") else {}


def shown_path(path: str) -> str:
    """A path as people write it: ``task.messages``."""
    return ".".join(json.loads(path))


def leaves(body: str) -> list[tuple[str, str]]:
    """(path, JSON text) of each field but the seal; of a field that is a mapping, of each field in it.

    A path is the JSON list of the one or two names as they stand in the body. Raises ValueError where the body is no such text.
    """
    found = []
    for name, start, end in _fields(body, 0, len(body)):
        if name == _SEAL and start == len(_SEALED):
            continue
        if body[start] == "{" and end > start + 2:
            found += [(f"[{name},{inner}]", body[a:b]) for inner, a, b in _fields(body, start, end)]
        else:
            found.append((f"[{name}]", body[start:end]))
    return found


def _leaf_digest(salt: str, path: str, text: str) -> str:
    return hashlib.sha256(f"{salt}\n{path}\n{text}".encode()).hexdigest()


def _digests_of(body: str) -> dict[str, str]:
    """Path -> digest of each field of a sealed body, withdrawn ones included. Raises ValueError where the seal does not fit."""
    fields, gone = leaves(body), withdrawn_of(body)
    salts = _salts(body, fields)
    if not all(map(_DIGEST.fullmatch, gone.values())):
        raise ValueError("the seal does not fit the fields")
    return {path: _leaf_digest(salts[path], path, text) for path, text in fields} | gone


def hashed_body(body: str) -> str | None:
    """What the hash of a row covers in place of a body; None where only the row that withdrew vouches for what is left.

    It is the SHA-256 of the sorted digests of the fields, joined by line feeds, and in rows of format 0001 the body itself.
    Raises ValueError for what is no body.
    """
    if not body.startswith(_SEALED):
        if _DIGEST.fullmatch(body):
            raise ValueError("a digest stands in place of the body")
        return body
    if is_of_first_format(body):
        return None
    return hashlib.sha256("\n".join(sorted(_digests_of(body).values())).encode()).hexdigest()


def is_of_first_format(body: str) -> bool:
    """Whether a body was written without a seal, and then something was withdrawn from it."""
    return body.startswith(f'{_SEALED}{{"withdrawn"')


def withdraw(body: str, paths: Collection[str]) -> str:
    """``body`` without the fields at ``paths``, whose digests stay; a new seal holds the salts of the others."""
    fields, gone = leaves(body), withdrawn_of(body)
    kept = [(path, text) for path, text in fields if path not in paths]
    if not body.startswith(_SEALED) or is_of_first_format(body):
        told: dict[str, Any] = {"withdrawn": gone | {path: "" for path, _ in fields if path in paths}}
    else:
        salts, digests = _salts(body, fields), _digests_of(body)
        told = {
            "kept": {path: salts[path] for path, _ in kept},
            "withdrawn": gone | {path: digests[path] for path, _ in fields if path in paths},
        }
    tree: dict[str, Any] = {}
    for path, text in kept:
        name, *inner = json.loads(path)
        if inner:
            tree.setdefault(name, []).append(f"{_json(inner[0])}:{text}")
        else:
            tree[name] = text
    shown = [f"{_json(name)}:{'{' + ','.join(v) + '}' if isinstance(v, list) else v}" for name, v in tree.items()]
    return "{" + ",".join([f'"{SEAL}":{_json(told)}', *shown]) + "}"


def _salts(body: str, fields: list[tuple[str, str]]) -> dict[str, str]:
    """Path -> salt of ``fields``, the body's. Raises ValueError for a seal that is none, or that does not fit."""
    told = _scan(body, len(_SEALED))[0]
    if isinstance(told, str) and _SALT.fullmatch(told):
        stream = hashlib.shake_256(bytes.fromhex(told)).hexdigest(16 * len(fields))
        return {path: stream[32 * i : 32 * i + 32] for i, (path, _) in enumerate(fields)}
    if not isinstance(told, dict) or told.keys() != {"kept", "withdrawn"}:
        raise ValueError("the seal is none")
    if told["kept"].keys() != {path for path, _ in fields} or not all(map(_SALT.fullmatch, told["kept"].values())):
        raise ValueError("the seal does not fit the fields")
    return dict(told["kept"])


def _fields(text: str, first: int, last: int) -> Iterator[tuple[str, int, int]]:
    """(name as JSON, beginning and end of the value) in a JSON object from ``first`` up to ``last``.

    Raises ValueError where it is none, or holds blanks between its fields.
    """
    at = first
    try:
        while text[at] == ("{" if at == first else ",") and text[at + 1] == '"':
            colon = _scan(text, at + 1)[1]
            end = _scan(text, colon + 1)[1]
            if text[colon] != ":":
                break
            yield text[at + 1 : colon], colon + 1, end
            at = end
        if at + 1 != last or text[at] != "}":
            raise ValueError("no JSON object")
    except (StopIteration, IndexError):
        raise ValueError("no JSON object") from None


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
