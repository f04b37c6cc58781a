"""verl writes a ledger: a wrapper of its custom reward function, and one of its reward managers.

``custom_reward_function.path`` names a file with

    compute_score = recorded_score(my_score, "runs/verl")

verl calls it for one reply (data_source, solution_str, ground_truth, extra_info) or, by its batch manager, for many
(data_sources, solution_strs, ...); an async function is awaited. It is given no prompt and no step. A manager is given both, or
the prompt at least: ``reward_manager.source=importlib`` names a class that :func:`recorded_manager` made.
Each process of verl writes a run of its own. Not recorded: tokens, log-probabilities, options, checkpoints.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.adapters.outside_run import never_breaking, outside_episode, outside_run, rank
from custodes.ledger import Record, ScoreRow

TRAINER = "verl"
PROMPT = ("prompt", "question", "raw_prompt")
"""Names under which ``extra_info`` may hold the prompt."""

NO_PROMPT = "(prompt not recorded)"
_calls = itertools.count()


def recorded_score(score: Callable[..., Any], where: str | Path, name: str = "") -> Callable[..., Any]:
    """``score``, a function of verl's form, which records what it was given and what it answered; the scores are its own.

    ``where`` is the ledger: a folder, a file or a URL. Scores are recorded under ``name``, by default the function's own;
    of a mapping, "score" is the score, and its other numbers are parts.
    """
    scorer = name or getattr(score, "__name__", type(score).__name__)
    if inspect.iscoroutinefunction(score):

        @functools.wraps(score)
        async def recorded_later(*given: Any, **named: Any) -> Any:
            answer = await score(*given, **named)
            _keep_call(where, scorer, given, named, answer)
            return answer

        return recorded_later

    @functools.wraps(score)
    def recorded(*given: Any, **named: Any) -> Any:
        answer = score(*given, **named)
        _keep_call(where, scorer, given, named, answer)
        return answer

    return recorded


def recorded_manager(manager: type, where: str | Path, name: str = "") -> type:
    """A class like ``manager``, a reward manager of verl's, that records prompts, replies and scores; the scores are its own.

    Both forms are known: a manager that is called with a batch, and one whose ``run_single`` is awaited for one reply.
    """
    own: Any = manager
    scorer = name or manager.__name__
    body: dict[str, Any] = {"__module__": manager.__module__, "__doc__": manager.__doc__}
    if hasattr(manager, "run_single"):

        async def run_single(self: Any, data: Any, *given: Any, **named: Any) -> Any:
            answer = await own.run_single(self, data, *given, **named)
            _keep_batch(where, scorer, self.tokenizer, data, [answer["reward_score"]], answer.get("reward_extra_info"))
            return answer

        body["run_single"] = run_single
    else:

        def of_batch(self: Any, data: Any, *given: Any, **named: Any) -> Any:
            answer = own.__call__(self, data, *given, **named)
            tensor = answer["reward_tensor"] if isinstance(answer, Mapping) else answer
            _keep_batch(where, scorer, self.tokenizer, data, tensor.sum(dim=-1).tolist(), None)
            return answer

        body["__call__"] = of_batch
    return type(f"Recorded{manager.__name__}", (manager,), body)


@never_breaking
def _keep_call(where: str | Path, scorer: str, given: Sequence[Any], named: Mapping[str, Any], answer: Any) -> None:
    batch = "solution_strs" in named
    names = [name + "s" * batch for name in ("data_source", "solution_str", "ground_truth", "extra_info")]
    told = [named.get(name, given[i] if i < len(given) else None) for i, name in enumerate(names)]
    columns = [value if batch else [value] for value in told]
    answers = list(answer) if batch else [answer]
    rows: list[tuple[Any, ...]] = []
    for i, value in enumerate(answers):
        source, reply, truth, extra = (None if column is None else column[i] for column in columns)
        extra = extra if isinstance(extra, Mapping) else {}
        prompt = next((extra[key] for key in PROMPT if extra.get(key) is not None), NO_PROMPT)
        rows.append(
            (prompt, reply, {"data_source": source, "ground_truth": truth, "index": extra.get("index")}, value, {})
        )
    _keep_rows(where, scorer, rows, None)


@never_breaking
def _keep_batch(
    where: str | Path, scorer: str, tokenizer: Any, data: Any, scores: Sequence[float], extra: Mapping[str, Any] | None
) -> None:
    rows: list[tuple[Any, ...]] = []
    for i, value in enumerate(scores):
        item = data[i]
        prompt, reply, mask = (item.batch[name] for name in ("prompts", "responses", "attention_mask"))
        width = prompt.shape[-1]
        asked, answered = prompt[width - int(mask[:width].sum()) :], reply[: int(mask[width:].sum())]
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in (asked, answered)]
        held = item.non_tensor_batch
        truth = held.get("reward_model") or {}
        known = {"data_source": held.get("data_source"), "ground_truth": truth.get("ground_truth")}
        rows.append((*texts, known, value, extra or {}))
    _keep_rows(where, scorer, rows, (getattr(data, "meta_info", None) or {}).get("global_steps"))


def _keep_rows(where: str | Path, scorer: str, rows: Sequence[tuple[Any, ...]], step: int | None) -> None:
    records: list[Record] = []
    call = next(_calls)
    for i, (prompt, reply, metadata, value, extra) in enumerate(rows):
        policy = "step not recorded" if step is None else f"step {step}"
        episode = outside_episode(f"{step or 0}-{rank()}.{call}.{i}", prompt, reply, policy, **metadata)
        records.append(episode)
        answer = dict(value) if isinstance(value, Mapping) else {"score": value}
        parts = {k: float(v) for k, v in {**extra, **answer}.items() if k != "score" and _is_number(v)}
        if _is_number(answer.get("score")):
            records.append(ScoreRow(episode.id, scorer, float(answer["score"]), parts=parts))
    outside_run(where, TRAINER).keep(records)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
