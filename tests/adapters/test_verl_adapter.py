"""verl's call forms: a function for one reply or many, awaited or not, and the two forms of a reward manager."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from custodes.adapters.outside_run import run_under_way
from custodes.adapters.verl import NO_PROMPT, recorded_manager, recorded_score
from custodes.audit import audit_run
from custodes.cli import main
from custodes.ledger import Ledger, verify_ledger
from custodes.types import Episode


def called_by_verl(function: Any, reward_kwargs: dict[str, Any], **given: Any) -> Any:
    """As a manager calls what the configuration names: everything by keyword, ``reward_kwargs`` joined in."""
    merged = partial(lambda fn, extra, **kwargs: fn(**{**kwargs, **extra}), function, reward_kwargs)
    answer = merged(**given)
    return asyncio.run(answer) if inspect.iscoroutinefunction(function) else answer


def score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, scale: float = 1.0) -> Any:
    return {"score": scale * (solution_str == ground_truth), "acc": True, "pred": solution_str}


async def score_later(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    await asyncio.sleep(0)
    return float(len(solution_str))


def scores(
    data_sources: Any, solution_strs: Any, ground_truths: Any, extra_infos: Any, bonus: float = 0.0
) -> list[float]:
    return [bonus + (a == b) for a, b in zip(solution_strs, ground_truths, strict=True)]


def recorded(where: Path) -> tuple[list[Episode], dict[str, tuple[float, dict[str, float]]]]:
    run = run_under_way(where)
    assert run is not None
    run.end("completed")
    assert verify_ledger(where).ok
    with Ledger.open(where, read_only=True) as ledger:
        (one,) = ledger.runs()
        return list(ledger.episodes(one.id)), {s.episode: (s.value, dict(s.parts)) for s in ledger.scores(one.id)}


def test_a_function_for_one_reply_gives_its_own_scores_and_is_recorded(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    own, extra = recorded_score(score, where), {"index": 3, "question": "6 x 7?", "num_turns": None}
    for reply in ("42", "41"):
        given = {"data_source": "sums", "solution_str": reply, "ground_truth": "42", "extra_info": dict(extra)}
        assert called_by_verl(own, {"scale": 2.0}, **given) == score(**given, scale=2.0)
    later = recorded_score(score_later, where)
    assert inspect.iscoroutinefunction(later)
    assert called_by_verl(later, {}, data_source="sums", solution_str="abc", ground_truth="", extra_info={}) == 3.0
    episodes, values = recorded(where)
    assert [e.completion for e in episodes] == ["42", "41", "abc"]
    assert [e.task.messages[0].content for e in episodes] == ["6 x 7?", "6 x 7?", NO_PROMPT]
    assert episodes[0].task.metadata == {"data_source": "sums", "ground_truth": "42", "index": 3}
    assert [values[e.id] for e in episodes] == [(2.0, {"acc": 1.0}), (0.0, {"acc": 1.0}), (3.0, {})]
    with Ledger.open(where) as ledger:
        report = audit_run(ledger, ledger.runs()[0].id).to_json()
    assert report["missing"]
    assert main(["audit", "logs", str(where), "--out", str(tmp_path / "logs")]) == 2  # verl tells a function no steps


def test_a_function_for_many_replies_is_recorded(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    given = {
        "data_sources": ["s", "s"], "solution_strs": ["1", "2"], "ground_truths": ["1", "1"], "extra_infos": [{}, {"index": 1}]
    }  # fmt: skip
    assert called_by_verl(recorded_score(scores, where), {"bonus": 0.5}, **given) == [1.5, 0.5]
    episodes, values = recorded(where)
    assert [values[e.id][0] for e in episodes] == [1.5, 0.5]


class Item:
    """One row of a batch as verl has it: padded left in the prompt, right in the reply."""

    def __init__(self, prompt: list[int], reply: list[int]) -> None:
        self.batch = {
            "prompts": torch.tensor([0] * (4 - len(prompt)) + prompt),
            "responses": torch.tensor(reply + [0] * (5 - len(reply))),
            "attention_mask": torch.tensor(
                [0] * (4 - len(prompt)) + [1] * len(prompt) + [1] * len(reply) + [0] * (5 - len(reply))
            ),
        }
        self.non_tensor_batch = {"data_source": "sums", "reward_model": {"ground_truth": "42"}}


class Batch(list[Item]):
    meta_info: ClassVar[dict[str, int]] = {"global_steps": 7}

    @property
    def batch(self) -> dict[str, torch.Tensor]:
        return {name: torch.stack([item.batch[name] for item in self]) for name in self[0].batch}


class Decoding:
    def decode(self, ids: torch.Tensor, skip_special_tokens: bool) -> str:
        return " ".join(map(str, ids.tolist()))


class OfBatches:
    """A manager of the form that is called with a batch: the score stands on a reply's last token."""

    def __init__(self, tokenizer: Any, num_examine: int, compute_score: Any = None, reward_fn_key: str = "x") -> None:
        self.tokenizer = tokenizer

    def __call__(self, data: Batch, return_dict: bool = False) -> Any:
        tensor = torch.zeros(data.batch["responses"].shape)
        for i, item in enumerate(data):
            tensor[i, int(item.batch["attention_mask"][4:].sum()) - 1] = i + 0.5
        return {"reward_tensor": tensor, "reward_extra_info": {}} if return_dict else tensor


class OfSingles:
    """A manager of the form that is awaited for one reply."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any) -> None:
        self.tokenizer, self.compute_score = tokenizer, compute_score

    async def run_single(self, data: Batch) -> dict[str, Any]:
        return {"reward_score": 0.25, "reward_extra_info": {"acc": 0.25, "pred": "x"}}


def test_a_manager_of_batches_is_recorded_with_prompts_and_steps(tmp_path: Path) -> None:
    where, data = tmp_path / "ledger.db", Batch([Item([5, 6], [7, 8, 9]), Item([5, 6, 7], [1])])
    manager = recorded_manager(OfBatches, where)(tokenizer=Decoding(), num_examine=0, compute_score=None)
    assert isinstance(manager, OfBatches)
    plain = OfBatches(Decoding(), 0)
    assert torch.equal(manager(data, return_dict=True)["reward_tensor"], plain(data))
    assert torch.equal(manager(data), plain(data))
    episodes, values = recorded(where)
    texts = [(e.task.messages[0].content, e.completion, e.policy, values[e.id][0]) for e in episodes]
    assert texts == 2 * [("5 6", "7 8 9", "step 7", 0.5), ("5 6 7", "1", "step 7", 1.5)]


def test_a_manager_of_single_replies_is_recorded(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    manager = recorded_manager(OfSingles, where)(config=SimpleNamespace(), tokenizer=Decoding(), compute_score=None)
    data = Batch([Item([5], [7, 8])])
    assert asyncio.run(manager.run_single(data)) == asyncio.run(OfSingles(None, None, None).run_single(data))
    (episode,), values = recorded(where)
    assert (episode.task.messages[0].content, episode.completion) == ("5", "7 8")
    assert values[episode.id] == (0.25, {"acc": 0.25})


@pytest.mark.parametrize("broken", [{"data_source": 1}, {}])
def test_what_cannot_be_recorded_does_not_break_the_reward(
    tmp_path: Path, broken: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "ledger.db"
    strange = recorded_score(lambda **_: [object()], where)
    assert len(strange(**broken, solution_strs="not a list of one")) == 1
    run = run_under_way(where)
    assert run is not None
    run.end("completed")
    assert verify_ledger(where).ok
