from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import sequences

from custodes.lm import packing
from custodes.lm.loading import load
from custodes.lm.packing import pack, split_by_budget

Sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9).map(np.array), min_size=1, max_size=7)


@settings(deadline=None)
@given(Sequences, st.data())
def test_a_packed_batch_holds_every_sequence(lists: list[np.ndarray], data: st.DataObject):
    groups = data.draw(st.lists(st.integers(0, 1), min_size=len(lists), max_size=len(lists)))
    batch = pack(lists, groups)
    for row, ids in enumerate(lists):
        places = batch.rows[row, : len(ids)]
        assert batch.ids[places].tolist() == ids.tolist()
        assert batch.positions[places].tolist() == list(range(len(ids)))
        assert batch.last[row] == places[-1]
    assert torch.equal(batch.rows.flatten()[batch.back], torch.arange(batch.tokens))
    assert batch.tokens <= sum(map(len, lists))


def test_a_group_keeps_its_common_beginning_once():
    prompt = [7, 8, 9, 10]
    assert pack(sequences(3, 5, start=prompt), [0, 0]).tokens == len(prompt) + 3 + 5
    assert pack(sequences(3, 5, start=prompt)).tokens == 2 * len(prompt) + 3 + 5
    apart = pack([*sequences(3, start=prompt), *sequences(2), *sequences(5, start=prompt)], ["a", "b", "a"])
    assert apart.shared == ()  # only neighbours share


@pytest.mark.parametrize("wrong", [[], [np.array([1]), np.array([], int)]])
def test_nothing_to_pack_is_refused(wrong: list[np.ndarray]):
    with pytest.raises(ValueError, match="at least one"):
        pack(wrong)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=0, max_size=20),
    st.integers(1, 60),
    st.data(),
)
def test_micro_batches_cover_everything_once_and_keep_groups_whole(
    lengths: list[int], budget: int, data: st.DataObject
):
    groups = sorted(data.draw(st.lists(st.integers(0, 4), min_size=len(lengths), max_size=len(lengths))))
    parts = split_by_budget(lengths, budget, groups)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    where = {i: p for p, part in enumerate(parts) for i in part}
    assert all(where[i] == where[j] for i in where for j in where if groups[i] == groups[j])
    for part in parts:
        assert sum(lengths[i] for i in part) <= budget or len({groups[i] for i in part}) == 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100))
def test_packed_hidden_states_equal_those_of_each_sequence_alone(tiny: object, seed: int):
    batch_sequences = sequences(9, 4, 13, seed=seed, start=[5, 6, 7, 8])
    batch = pack(batch_sequences, [0, 0, 0])
    with torch.no_grad():
        together = tiny.decoder.hidden(batch)  # type: ignore[attr-defined]
        for row, ids in enumerate(batch_sequences):
            alone = tiny.decoder.hidden(pack([ids]))  # type: ignore[attr-defined]
            torch.testing.assert_close(together[batch.rows[row, : len(ids)]], alone, atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path):
    return load(tiny_model, dtype="float32")


@pytest.mark.parametrize("block", [1, 30, 1000])  # row tokens of an attention block: each group alone, or all together
def test_gradients_of_a_shared_beginning_equal_those_of_copies(
    tiny_model: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    """Every sequence reads its own tokens and the shared ones; each reading sends a gradient."""
    monkeypatch.setattr(packing, "BLOCK_TOKENS", block)
    batch_sequences = [*sequences(9, 4, start=[5, 6, 7, 8]), *sequences(13, 2, 6, start=[3, 2])]
    together = [0, 0, 1, 1, 1]
    reading = [
        torch.randn(len(ids), 32, generator=torch.Generator().manual_seed(i)) for i, ids in enumerate(batch_sequences)
    ]
    grads = []
    for groups in (together, None):
        lm = load(tiny_model, dtype="float32")
        masters = lm.trainable()
        batch = pack(batch_sequences, groups)
        hidden = lm.decoder.hidden(batch)
        sum(
            (hidden[batch.rows[row, : len(ids)]] * reading[row]).sum() for row, ids in enumerate(batch_sequences)
        ).backward()  # type: ignore[union-attr]
        grads.append([m.grad for m in masters])
    assert pack(batch_sequences, together).tokens < pack(batch_sequences).tokens
    for shared, copied in zip(*grads, strict=True):
        torch.testing.assert_close(shared, copied, atol=1e-4, rtol=1e-3)


def test_segments_are_what_sequences_share_and_what_is_their_own():
    a, b, c = np.array([1, 2, 3, 4]), np.array([1, 2, 5]), np.array([1, 2])
    batch = pack([a, b, c, a], ["x", "x", "y", "y"])
    segments = [batch.ids[i:j].tolist() for i, j in itertools.pairwise(batch.starts.tolist())]
    groups = [segments[i:j] for i, j in itertools.pairwise(batch.groups.tolist())]
    assert groups == [[[1, 2], [3, 4], [5]], [[1, 2], [], [3, 4]]]
    alone = pack([a, b])  # nothing is shared: the first segment of each is empty
    assert alone.starts.tolist() == [0, 0, 4, 4, 7]
    assert alone.groups.tolist() == [0, 2, 4]
