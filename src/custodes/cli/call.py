"""Calling a command: its options are parsed, its function is called, and what that returns is recorded and printed."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from custodes.cli.options import parse_options
from custodes.cli.recorded import recorded_command, take_flag
from custodes.cli.table import Listed
from custodes.cli.words import NOTES
from custodes.files import plain_json
from custodes.job.trackers import tracking


def call(listed: Listed, given: list[str]) -> int:
    """Run a command with its arguments; the exit code."""
    command = listed.declared()
    ledger, head_file = None, None
    if command.recorded:
        ledger, given = take_flag(given, "--ledger")
        head_file, given = take_flag(given, "--head-file")
    options: Any
    options, config_file = parse_options(listed.name, command.flags, given)
    plain = command.options(**{f.name: getattr(options, f.name) for f in fields(command.options) if f.init})
    recorded = recorded_command(listed.name, plain, ledger, head_file, config_file)
    tracked = command.steps and options.track != "none"
    with (
        recorded if command.recorded else nullcontext() as invocation,
        tracking(options.track, plain.out, asdict(plain)) if tracked else nullcontext(),
    ):
        result = command.function(plain)
        values = plain_json(result) if isinstance(result, Mapping) or is_dataclass(result) else None
        if invocation is not None:
            invocation.result = values
        if command.prints and options.json:
            values = _as_json({} if result is None else result) if values is None else values
            for value in values if isinstance(values, list) else [values]:
                notes = dict.fromkeys((*value.get("notes", ()), *NOTES))
                print(json.dumps(value | {"notes": list(notes)}, ensure_ascii=False, allow_nan=False))
        elif command.prints:
            command.show(plain, result)
            for note in values.get("notes", ()) if values else ():
                if note not in NOTES:
                    print(f"Note: {note}")
    return int(getattr(result, "exit_code", 0))


def _as_json(result: Any) -> Any:
    """What JSON can hold of a result; of a page it is the JSON file beside it."""
    if isinstance(result, Path):
        data = result.with_suffix(".json")
        return json.loads(data.read_text(encoding="utf-8")) if data.is_file() else {"path": str(result)}
    return [_as_json(value) for value in result] if isinstance(result, list) else plain_json(result)
