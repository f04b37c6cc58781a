"""What a reward model reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custodes.lm.loading import LanguageModel
from custodes.reward.reading import Reader, micro_batches
from custodes.types import InputError, Message, PreferencePair


def test_what_is_read_is_the_whole_conversation_as_the_template_renders_it(lm: LanguageModel) -> None:
    talk = (Message("user", "Who watches?"), Message("assistant", "We do."))
    ids = Reader(lm, 512).conversation(talk, "here")
    assert ids.tolist() == lm.tokenizer.apply_chat_template([m.to_dict() for m in talk], return_dict=False)
    np.testing.assert_array_equal(Reader(lm, 512, padding=int(ids[-1])).conversation(talk, "here"), ids[:-1])


def test_long_pairs_lose_the_same_tokens_from_the_left_of_their_prompt(
    lm: LanguageModel, pairs: list[PreferencePair]
) -> None:
    whole, none_cut = Reader(lm, 512).pairs(pairs)
    assert none_cut == 0
    limit = int(np.median([max(len(p.chosen), len(p.rejected)) for p in whole]))
    short, cut = Reader(lm, limit).pairs(pairs)
    assert 0 < cut < len(pairs)
    assert cut == sum(len(a.chosen) != len(b.chosen) for a, b in zip(whole, short, strict=True))
    for a, b in zip(whole, short, strict=True):
        assert max(len(b.chosen), len(b.rejected)) <= limit
        lost = len(a.chosen) - len(b.chosen)
        assert lost == len(a.rejected) - len(b.rejected)
        np.testing.assert_array_equal(a.chosen[lost:], b.chosen)
        np.testing.assert_array_equal(a.rejected[lost:], b.rejected)


def test_a_completion_longer_than_the_context_names_file_and_row(
    lm: LanguageModel, pairs: list[PreferencePair]
) -> None:
    long = replace(pairs[3], rejected=(Message("assistant", "watch the watchers " * 300),))
    with pytest.raises(
        InputError, match=r"pairs.jsonl row 4, rejected: the completion has [\d,]+ tokens and 512 are read"
    ):
        Reader(lm, 512).pairs([*pairs[:3], long], "pairs.jsonl")


def test_dialogues_that_part_early_are_read_to_their_own_end(lm: LanguageModel) -> None:
    one = (Message("assistant", "fox"), Message("user", "and?"), Message("assistant", "dog"))
    pair = PreferencePair((Message("user", "Who?"),), one, (Message("assistant", "nobody"),))
    read, _ = Reader(lm, 512).pair(pair)
    assert "and?" in lm.tokenizer.decode(read.chosen)
    assert lm.tokenizer.decode(read.rejected).endswith("nobody<|im_end|>\n")


def test_micro_batches_cover_everything_once_and_share_prompts(lm: LanguageModel, pairs: list[PreferencePair]) -> None:
    read, _ = Reader(lm, 512).pairs(pairs)
    sequences = [s for p in read for s in (p.chosen, p.rejected)]
    batches = micro_batches(sequences, np.repeat(np.arange(len(read)), 2).tolist(), 200)
    assert sorted(i for part, _ in batches for i in part) == list(range(len(sequences)))
    assert len(batches) > 1
    for part, packed in batches:
        assert packed.tokens < sum(len(sequences[i]) for i in part)
        assert all(part[i + 1] == part[i] + 1 for i in range(0, len(part), 2))
