"""Logs of Inspect become runs of a ledger: what ``custodes ledger import`` does.

Of each log: the task, model, options and packages, every sample as a task, each of its epochs as an episode with its scores, and
the metrics. The log itself is hashed as an input. Not recorded: events, stores, explanations, tokens, log-probabilities.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from custodes.digests import blocks_of, digest
from custodes.files import plain_json
from custodes.job.command import command, in_words
from custodes.job.progress import Progress
from custodes.job.recording import Recording
from custodes.ledger import Decision, Evaluation, Ledger, Record, ScoreRow, Status
from custodes.types import Episode, InputError, Message, Outcome, Task

IMPORTED = "imported"
"""``Decision.what`` of a run that holds the whole log."""

NOT_RECORDED = "events, stores, explanations of scores, tokens and log-probabilities"
STATUS: dict[str, Status] = {"success": "completed", "error": "failed"}
CUT = ("max_tokens", "model_length")


@dataclass(frozen=True, kw_only=True)
class LedgerImport:
    """Write logs of Inspect (.eval or .json) into a ledger, each as a run. A log that is there already is left out."""

    logs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="LOG ...")]]
    """Logs that Inspect wrote, or folders of them."""
    out: Path
    """Folder of the ledger, ledger.db; it may be there already."""


@dataclass(frozen=True)
class ImportedLogs:
    """The runs by log, what was there before, and what could not be taken over."""

    ledger: Path
    runs: dict[str, str] = field(default_factory=dict)  # log -> id of its run
    before: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@command(recorded=False)
def ledger_import(config: LedgerImport) -> ImportedLogs:
    """Write logs of Inspect into a ledger.

    Raises InputError for what is no such log, before anything is written. Interrupted, it goes on with the same call.
    """
    logs = {path: _header(path) for path in _files(config.logs)}
    made = ImportedLogs(config.out / "ledger.db")
    with Ledger.open(made.ledger) as ledger:
        known = {run.config["sha256"]: run.id for run in ledger.runs() if "sha256" in run.config}
        done = {run for run in known.values() if any(d.what == IMPORTED for d in ledger.decisions(run))}
        for path, header in logs.items():
            sha256 = digest(path, 0, path.stat().st_size)
            if known.get(sha256) in done:
                made.before.append(str(path))
                continue
            if sha256 in known:
                run = ledger.resume_run(known[sha256]).id
            else:
                run = ledger.start_run("inspect eval", _config(header, path, sha256), 0)
            _import(ledger, run, path, header, made)
            known[sha256] = made.runs[str(path)] = run
            done.add(run)
    return made


@in_words(ledger_import)
def _show(config: LedgerImport, made: ImportedLogs) -> None:
    for log, run in made.runs.items():
        print(f"{log}: run {run}")
    for log in made.before:
        print(f"{log}: is in the ledger already")
    print(f"Not recorded: {NOT_RECORDED}.")


def _files(logs: tuple[Path, ...]) -> list[Path]:
    found = []
    for path in logs:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in (".eval", ".json") and p.name != "logs.json")
        else:
            found.append(path)
    if not found:
        raise InputError("there is no log to import; name .eval or .json files of Inspect, or a folder of them.")
    return found


def _header(path: Path) -> Any:
    try:
        from inspect_ai.log import read_eval_log
    except ModuleNotFoundError:
        raise InputError(
            "logs of Inspect need inspect-ai, which is not installed: pip install 'custodes[evals]'."
        ) from None
    try:
        return read_eval_log(str(path), header_only=True)
    except Exception as error:  # whatever a file holds that is no log
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no log that Inspect wrote ({why[:200]}).") from None


def _config(header: Any, path: Path, sha256: str) -> dict[str, Any]:
    spec = header.eval
    told = spec.model_dump(mode="json", exclude_none=True, exclude={"dataset": {"sample_ids"}})
    return {"log": path.name, "sha256": sha256, "status": header.status, **_plain(told)}


def _import(ledger: Ledger, run: str, path: Path, header: Any, made: ImportedLogs) -> None:
    Recording(ledger, run, compare=False).keep_inputs({path: blocks_of(path)})
    model, name, failed, epochs = str(header.eval.model), str(header.eval.task), 0, 0
    seen = set[str]()
    with Progress() as progress:
        bar = progress.add_task(f"importing {path.name}", total=getattr(header.results, "total_samples", None))
        for sample in _samples(path):
            episode = _episode(sample, name, model)
            first = [] if episode.task.id in seen else [episode.task]  # another epoch may have other metadata
            ledger.write(run, [*first, episode, *_scores(sample, episode.id)])
            seen.add(episode.task.id)
            failed, epochs = failed + (sample.error is not None), epochs + 1
            progress.advance(bar)
    rows: list[Record] = []
    for number, score in enumerate(header.results.scores if header.results else ()):
        values = {metric: _plain(of.value) for metric, of in score.metrics.items()}
        told = {"scorer": score.name, "reducer": score.reducer, "metrics": values}
        rows.append(Evaluation(f"result-{number}", "inspect_result", model, told, score.scored_samples or epochs))
    if header.error is not None:
        rows.append(Decision("error", "error", str(header.error.message)))
    why = f"{epochs:,} samples of {path.name}, of which {failed:,} ended with an error"
    rows += [
        Decision("not-recorded", "not recorded", f"{NOT_RECORDED} of {path.name}; its digest is."),
        Decision(IMPORTED, IMPORTED, f"{why}."),
    ]
    ledger.write(run, rows)
    ledger.end_run(run, STATUS.get(header.status, "interrupted"))
    if failed or header.status != "success":
        made.notes.append(f"{path}: {why}; Inspect ended it as {header.status!r}")


def _samples(path: Path) -> Iterator[Any]:
    """One after the other, so that a log may be larger than the memory; of JSON all at once."""
    from inspect_ai.log import read_eval_log, read_eval_log_samples

    if path.suffix == ".json":
        yield from read_eval_log(str(path), resolve_attachments=True).samples or ()
    else:
        yield from read_eval_log_samples(str(path), all_samples_required=False, resolve_attachments=True)


def _episode(sample: Any, name: str, model: str) -> Episode:
    asked = _messages(sample.input)
    metadata = _plain({"target": sample.target, "choices": sample.choices, **sample.metadata})
    task = Task(_key(str(sample.id)), asked, environment=f"inspect: {name}", metadata=metadata)
    said = _messages(sample.messages)
    if not said and sample.output.completion:
        said = (*asked, Message("assistant", sample.output.completion))
    outcome: Outcome = "error" if sample.error else "length" if sample.output.stop_reason in CUT else "stop"
    episode = Episode.written(_key(f"{sample.id}, epoch {sample.epoch}"), task, said or asked, model)
    used = sample.model_usage.values()
    cost = {
        "prompt_tokens": float(sum(u.input_tokens for u in used)),
        "completion_tokens": float(sum(u.output_tokens for u in used)),
        **({"seconds": float(sample.total_time)} if sample.total_time is not None else {}),
    }
    return replace(episode, outcome=outcome, cost=cost)


def _scores(sample: Any, episode: str) -> Iterator[ScoreRow]:
    """A number for each scorer, and for each entry of a score that is a mapping or a list."""
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    for scorer, score in (sample.scores or {}).items():
        value = score.value
        entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
        named = [(scorer, value)] if entries is None else [(f"{scorer}/{key}", one) for key, one in entries]
        for name, one in named:
            if one is not None and math.isfinite(found := number(one)):
                yield ScoreRow(episode, name, found)


def _messages(given: Any) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message("user", given),)
    found = []
    for message in given:
        calls = [
            f"[{call.function}({json.dumps(call.arguments, default=str)})]"
            for call in getattr(message, "tool_calls", None) or ()
        ]
        found.append(Message(message.role, "\n".join(part for part in (message.text, *calls) if part)))
    return tuple(found)


def _key(id: str) -> str:
    """An id of one line, short enough for a ledger."""
    line = " ".join(id.replace("\0", " ").split())
    return line if line == id and len(id) <= 200 else f"{line[:150]} {hashlib.sha256(id.encode()).hexdigest()[:12]}"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(plain_json(value), default=str))
