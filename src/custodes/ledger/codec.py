"""Records to rows and back: a record is a kind, a key and a body of JSON text.

The body holds the record's fields, without the id, which is the key. An episode's arrays of T tokens
are base64 of little-endian bytes: ``token_ids`` int32, ``logprobs`` float32, ``action_mask`` one bit
per token, lowest bit first.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from custodes.ledger.records import Artefact, Decision, Evaluation, Model, Record, Redaction, Run, ScoreRow
from custodes.ledger.sealing import unsealed, withdrawn_of
from custodes.types import Annotator, Episode, InputError, Judgment, Message, Task, judgment_type

LONGEST_KEY = 1000  # bytes; PostgreSQL indexes at most 2,704 bytes of run, kind and key together

_CONTROL = re.compile(r"[\0\n]")  # NUL is not text in PostgreSQL; line feeds separate the columns that are hashed


class Entry(NamedTuple):
    kind: str
    key: str
    body: str


def encode(record: Record | Run) -> Entry:
    """The row of ``record``. Raises InputError where the record holds what JSON or a database cannot."""
    cls = type(record)
    if isinstance(record, Judgment) and cls not in _WRITERS:
        _WRITERS[cls] = ("judgment", _typed(type(record)))
    if cls not in _WRITERS:
        held = ", ".join(known.__name__ for known in _WRITERS if known is not Run)
        raise InputError(f"the ledger cannot hold a {cls.__name__}; it holds {held} and judgments.")
    kind, write = _WRITERS[cls]
    # of a score it is scorer and episode as JSON: no two pairs look the same
    key = json.dumps([record.scorer, record.episode], ensure_ascii=False) if isinstance(record, ScoreRow) else record.id
    if not isinstance(key, str) or not 0 < len(key.encode(errors="replace")) <= LONGEST_KEY or _CONTROL.search(key):
        raise InputError(
            f"{kind} id {str(key)[:40]!r} cannot be used; an id is one line of text of 1 to {LONGEST_KEY} bytes."
        )
    try:
        body = _to_json(write(record))
        (body + key).encode()
    except UnicodeEncodeError:
        raise InputError(f"{kind} {key!r} holds half a character (a lone surrogate), which is not text.") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind} {key!r} cannot be written as JSON: {error}.") from None
    return Entry(kind, key, body)


def decode(entry: Entry) -> Any:
    """The record that ``entry`` was made of; None where a field was withdrawn without which there is no such record."""
    body = unsealed(entry.body)
    for path in withdrawn_of(entry.body):
        names = json.loads(path)
        least = DISPENSABLE.get(entry.kind, {})
        place = next((p for p in least if list(p) == names[: len(p)]), None)
        if place is None:
            return None
        holder = body
        for name in place[:-1]:
            holder = holder.setdefault(name, {})
        holder.setdefault(place[-1], least[place])
    return _READERS[entry.kind](entry.key, body)


DISPENSABLE: dict[str, dict[tuple[str, ...], Any]] = {
    "task": {("metadata",): {}},
    "episode": {("task", "metadata"): {}, ("cost",): {}},
    "annotator": {("profile",): {}},
    "judgment": {("shown",): "", ("seconds",): None, ("assistance",): "", ("guideline",): ""},
    "model": {("metadata",): {}, ("parent",): None},
    "score": {("std",): None, ("parts",): {}},
    "decision": {("why",): "withdrawn", ("subject",): ""},
    "run": {("config",): {}},
}
"""Kind -> the fields that a record can do without, and what is read where they were withdrawn."""


# ---------------------------------------------------------------- one kind at a time


def _flat(cls: type) -> Callable[[Any], dict[str, Any]]:
    """A writer of all fields but the id."""
    names = [f.name for f in fields(cls) if f.name != "id"]
    get = attrgetter(*names)
    return lambda record: dict(zip(names, get(record), strict=True))


def _typed(cls: type[Judgment]) -> Callable[[Any], dict[str, Any]]:
    """A writer of a kind of judgment."""
    write, seldom = _flat(cls), cls.seldom
    return lambda record: {
        "type": cls.kind,
        **{k: v for k, v in write(record).items() if k not in seldom or v != seldom[k]},
    }


def _read_judgment(key: str, body: dict[str, Any]) -> Any:
    cls: type[Any] = judgment_type(body.pop("type"))
    return cls(id=key, **{name: tuple(value) if isinstance(value, list) else value for name, value in body.items()})


def _write_task(task: Task) -> dict[str, Any]:
    return {
        "messages": _from_messages(task.messages),
        "environment": task.environment,
        "metadata": dict(task.metadata),
    }


def _read_task(key: str, body: dict[str, Any]) -> Task:
    return Task(key, _to_messages(body["messages"]), body["environment"], body["metadata"])


def _write_episode(episode: Episode) -> dict[str, Any]:
    """The task goes in whole, as the policy met it; the prompt is not repeated in front of the reply."""
    T = len(episode.token_ids)
    if not T == len(episode.action_mask) == len(episode.logprobs):
        raise InputError(
            f"episode {episode.id!r} has {T} token ids, {len(episode.action_mask)} mask entries and "
            f"{len(episode.logprobs)} log-probabilities; give one of each per token."
        )
    prompt = len(episode.task.messages)
    continues = episode.messages[:prompt] == episode.task.messages
    return {
        "task": {"id": episode.task.id, **_write_task(episode.task)},
        **(
            {"reply": _from_messages(episode.messages[prompt:])}
            if continues
            else {"messages": _from_messages(episode.messages)}
        ),
        "tokens": T,
        "token_ids": _to_base64(np.asarray(episode.token_ids, "<i4")),
        "action_mask": _to_base64(np.packbits(np.asarray(episode.action_mask, bool), bitorder="little")),
        "logprobs": _to_base64(np.asarray(episode.logprobs, "<f4")),
        "outcome": episode.outcome,
        "policy": episode.policy,
        "cost": dict(episode.cost),
    }


def _read_episode(key: str, body: dict[str, Any]) -> Episode:
    task = _read_task(body["task"].pop("id"), body["task"])
    messages = _to_messages(body["messages"]) if "messages" in body else task.messages + _to_messages(body["reply"])
    bits = _from_base64(body["action_mask"], "u1")
    return Episode(
        id=key,
        task=task,
        messages=messages,
        token_ids=_from_base64(body["token_ids"], "<i4").astype(np.int32),
        action_mask=np.unpackbits(bits, count=body["tokens"], bitorder="little").astype(bool),
        logprobs=_from_base64(body["logprobs"], "<f4").astype(np.float32),
        outcome=body["outcome"],
        policy=body["policy"],
        cost=body["cost"],
    )


_WRITERS: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    Task: ("task", _write_task),
    Episode: ("episode", _write_episode),
    Annotator: ("annotator", _flat(Annotator)),
    Model: ("model", _flat(Model)),
    ScoreRow: ("score", _flat(ScoreRow)),
    Evaluation: ("evaluation", _flat(Evaluation)),
    Decision: ("decision", _flat(Decision)),
    Artefact: ("artefact", _flat(Artefact)),
    Redaction: ("redaction", _flat(Redaction)),
    Run: ("run", _flat(Run)),
}
_READERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "task": _read_task,
    "episode": _read_episode,
    "judgment": _read_judgment,
    "annotator": lambda key, body: Annotator(key, **body),
    "model": lambda key, body: Model(key, **body),
    "score": lambda key, body: ScoreRow(**body),
    "evaluation": lambda key, body: Evaluation(key, **body),
    "decision": lambda key, body: Decision(key, **body),
    "artefact": lambda key, body: Artefact(key, **body),
    "redaction": lambda key, body: Redaction(key, **{**body, "files": tuple(body["files"])}),
    "run": lambda key, body: Run(id=key, **{**body, "invocations": tuple(body["invocations"])}),
}


RECORD_KINDS = frozenset(_READERS)
"""What a row can be."""


# ---------------------------------------------------------------- parts of a body


def _from_messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [m.to_dict() for m in messages]


def _to_messages(messages: list[dict[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(m["role"], m["content"]) for m in messages)


def _to_base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _from_base64(text: str, dtype: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype)


def _plain(value: Any) -> Any:
    """What JSON makes of numpy's scalars and arrays, and of mappings that are not dicts."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "keys"):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a number, text, list or mapping")


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
