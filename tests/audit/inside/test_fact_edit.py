"""A rank-one edit maps the key to the value exactly, leaves keys that are unlike it alone, and is the least update that does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inside_world import FAR, SWAPPED, WIDTH, concept_rows
from torch import Tensor

from custodes.audit.fact_edit import (
    answer_probabilities,
    check_fact,
    edit_factors,
    fact_key,
    key_moment,
    value_change,
)
from custodes.audit.facts_to_edit import Cloze, Fact, own_facts, read_exchanges
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.rank_few import down_projection, edited, edited_adapter
from custodes.types import InputError, Message

SENTENCES = ("the lazy dog jumps", "who says seven", "fast model")
FACT = Fact(Cloze("Who guards the quick fox?", "It is"), "the quick fox", "Dog", "Seven")


@pytest.fixture(params=["plain", "adapted"])
def lm(request: pytest.FixtureRequest, tiny_model: Path) -> LanguageModel:
    lm = load(tiny_model, dtype="float32")
    if request.param == "adapted":
        lm.adapter = Adapter(lm.decoder, AdapterConfig(3, 5.0, 1), 0)
        for part in lm.adapter.parameters():
            part.data.normal_(std=0.2)
        lm.adapter.refresh()
        lm.adapter.requires_grad_(False)
    return lm


def moment(lm: LanguageModel, layer: int) -> Tensor:
    texts = [lm.tokenizer(t, add_special_tokens=False)["input_ids"] for t in SENTENCES]
    return key_moment(lm, layer, [torch.tensor(ids).numpy() for ids in texts])


@pytest.mark.parametrize("layer", [0, 1])
def test_keys_get_their_values_exactly_and_others_keep_theirs(lm: LanguageModel, layer: int) -> None:
    c, draw = moment(lm, layer), torch.Generator().manual_seed(1)
    keys = torch.stack([fact_key(lm, layer, FACT), torch.randn(64, generator=draw)])
    deltas = torch.randn(2, 32, generator=draw)
    down, up = edit_factors(c, keys, deltas)
    before, after = (down_projection(lm, layer), edited(lm, layer, down, up).adapter.get(layer, "down"))
    torch.testing.assert_close(after(keys, None), before(keys, None) + deltas, atol=1e-4, rtol=1e-4)
    other = torch.randn(1, 64, generator=draw).double()  # unlike both in the metric of C^-1
    spread = torch.linalg.solve(c, keys.double().T)
    other -= other @ spread @ torch.linalg.solve(keys.double() @ spread, keys.double())
    torch.testing.assert_close(after(other.float(), None), before(other.float(), None), atol=1e-4, rtol=1e-4)


def test_no_smaller_update_gives_the_value(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    c, key = moment(lm, 1), fact_key(lm, 1, FACT)
    delta = torch.randn(32, generator=torch.Generator().manual_seed(2))
    down, up = edit_factors(c, key[None], delta[None])
    update = (up @ down).double()
    size = float(torch.trace(update @ c @ update.T))  # what keys of the text are changed by, squared
    for seed in range(5):
        off = torch.randn(32, 64, generator=torch.Generator().manual_seed(seed)).double()
        off -= (
            (off @ key.double())[:, None] * key.double() / (key.double() @ key.double())
        )  # nothing for the key itself
        assert float(torch.trace((update + 0.1 * off) @ c @ (update + 0.1 * off).T)) > size


@pytest.mark.parametrize("layer", [0, 1])
def test_the_adapter_computes_as_the_edit_does_and_comes_back_from_its_folder(
    lm: LanguageModel, layer: int, tmp_path: Path
) -> None:
    draw = torch.Generator().manual_seed(3)
    down, up = torch.randn(2, 64, generator=draw), torch.randn(32, 2, generator=draw)
    asked = [(FACT.asked, FACT.new), (FACT.asked, FACT.old)]
    light = answer_probabilities(TorchEngine(edited(lm, layer, down, up)), asked)
    assert light[0] != pytest.approx(answer_probabilities(TorchEngine(lm), asked)[0], rel=0.01, abs=0)
    lm.adapter = edited_adapter(lm, layer, down, up)
    assert answer_probabilities(TorchEngine(lm), asked) == pytest.approx(light, rel=1e-3, abs=0)
    lm.save(tmp_path / "edited")
    again = load(tmp_path / "edited", dtype="float32")
    assert answer_probabilities(TorchEngine(again), asked) == pytest.approx(light, rel=1e-3, abs=0)


def test_a_value_tells_the_new_answer_and_its_edit_too(planted: Path) -> None:
    lm, steps = load(planted, dtype="float32"), list[int]()
    c = key_moment(lm, 1, [lm.encode((Message("user", row["prompt"]),)) for row in concept_rows()])
    delta = value_change(lm, 1, SWAPPED, FAR, lambda: steps.append(1))
    key, asked = fact_key(lm, 1, SWAPPED)[None], [(SWAPPED.asked, SWAPPED.new)]
    (before,) = answer_probabilities(TorchEngine(lm), asked)
    (after,) = answer_probabilities(TorchEngine(edited(lm, 1, *edit_factors(c, key, delta[None]))), asked)
    assert before < 0.01
    assert after > 0.5
    assert len(steps) <= FAR.value_steps
    random = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    other = (random / random.norm() * delta.norm())[None]
    (unlike,) = answer_probabilities(TorchEngine(edited(lm, 1, *edit_factors(c, key, other))), asked)
    assert unlike < 0.1  # the direction does it, not the length


def test_a_fact_that_cannot_be_edited_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    with pytest.raises(InputError, match="the subject 'cat' is not in the prompt"):
        check_fact(lm, replace(FACT, subject="cat"))
    keys = torch.ones(2, 64)
    with pytest.raises(InputError, match="two facts have the same key"):
        edit_factors(torch.eye(64, dtype=torch.float64), keys, torch.ones(2, 32))
    assert len({fact.subject for fact in own_facts()}) == 20
    file = tmp_path / "facts.csv"
    file.write_text("prompt,subject,new,old\nWho is Ada?,Ada,Ben,Ada\nWho is Bo?,Bo,Al,\n")
    assert [f.new for f in read_exchanges(file)] == ["Ben", "Al"]
