"""What a command's options say of themselves to the record, in their annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from custodes.ranges import parts_of_hint


class Use(Enum):
    """What an option is for, where it does not name what is read or decide what comes out."""

    OUTPUT = "names what is written, beside which the ledger stands"
    SIDE_OUTPUT = "names what is written besides"
    APART = "names a database, which changes, or what the job itself tells the record of"
    MEANS = "changes how the work is done and nothing of what comes out"


Output = Annotated[Path, Use.OUTPUT]


def uses_of(kind: type[Any]) -> dict[str, Use | None]:
    """What each option of a dataclass is for; None where nothing is said."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: next((p for p in parts_of_hint(hints[f.name]) if isinstance(p, Use)), None) for f in fields(kind)}


def identity(options: Any) -> dict[str, Any]:
    """The options that must be equal for two runs to be the same run, as JSON has them.

    A mapping holds no others. The own options of plug-ins, which a field holds as a mapping, stand among the rest.
    """
    if isinstance(options, Mapping):
        return dict(json.loads(json.dumps(dict(options), default=str)))
    values = {name: getattr(options, name) for name, use in uses_of(type(options)).items() if use in (None, Use.APART)}
    joined = {name: v for value in values.values() if isinstance(value, Mapping) for name, v in value.items()}
    values = {name: identity(v) if is_dataclass(v) else v for name, v in values.items() if not isinstance(v, Mapping)}
    return identity(values | joined)


def defaults_of(options: Any) -> dict[str, Any]:
    """The options that have a default, with it: what runs were done with that were recorded before an option existed."""
    found = {f.name: f.default for f in fields(options) if f.default is not MISSING} if is_dataclass(options) else {}
    return identity(found)


def first_difference(
    was: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """(name, then, now) of the first option that differs, groups of options looked into; None where none does."""
    for name, value in now.items():
        then = was.get(name, defaults.get(name))
        if isinstance(value, dict) and isinstance(then, dict):
            if (inside := first_difference(then, value, {})) is not None:
                return inside
        elif then != value:
            return name, then, value
    return None
