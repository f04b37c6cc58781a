"""Force sampling beam search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from custodes.critic.search import SearchConfig, _EngineTree, _tidy, best_of, force_sampling_beam_search
from custodes.feedback.critique import Finding, parse_critique
from custodes.lm.branches import Branches
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import Episode, InputError, Message, Sampling, Scores, Task

SOURCE = "def last(items):\n    return items[len(items)]\n"
TASK = Task("review", (Message("user", SOURCE),))


class VowelsLiked:
    """A reward that tells critiques apart, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, episodes: Sequence[Episode]) -> Scores:
        self.asked.append(len(episodes))
        return Scores(np.array([sum(e.completion.count(v) for v in "aeiou") / 10 for e in episodes]))


class Says:
    """An engine that goes on in the same words whatever was before."""

    def __init__(self, said: str) -> None:
        self.said = said

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        assert prefixes is not None
        said = self.said[: min((at for stop in sampling.stop if (at := self.said.find(stop)) >= 0), default=None)]
        blank, none = np.zeros(0, np.int32), np.zeros(0, np.bool_)
        return [
            Episode(f"e{i}{k}", t, (*t.messages, Message("assistant", p + said)), blank, none, np.zeros(0, np.float32),
                    outcome="stop", policy="says", cost={"completion_tokens": 20})
            for i, (t, p) in enumerate(zip(tasks, prefixes, strict=True)) for k in range(sampling.n)
        ]  # fmt: skip

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[np.ndarray]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


CONFIG = SearchConfig(max_tokens=12)


def test_twenty_eight_candidates_each_begins_with_what_was_kept_and_a_quote(lm: LanguageModel) -> None:
    reward = VowelsLiked()
    found = force_sampling_beam_search(lm, TASK, SOURCE, reward, CONFIG)
    assert reward.asked == [4, 8, 8, 8]
    assert len(found.candidates) == CONFIG.candidates == 28
    for number in range(1, 5):
        of_round = [c for c in found.candidates if c.round == number]
        before = sorted((c for c in found.candidates if c.round == number - 1), key=lambda c: -c.score)[:2]
        starts = [_tidy(c.episode.completion, c.episode.outcome == "stop") for c in before] or [""]
        for i, candidate in enumerate(of_round):
            start = starts[i // 4]
            assert candidate.episode.completion.startswith(f"{start}\n\n```python\n" if start else "```python\n")
            assert len(candidate.critique.findings) >= 1


def test_only_drawn_tokens_are_counted_and_forced_ones_are_no_actions(lm: LanguageModel) -> None:
    found = force_sampling_beam_search(lm, TASK, SOURCE, VowelsLiked(), CONFIG)
    assert 0 < found.tokens <= 28 * 12
    for candidate in found.candidates:
        episode = candidate.episode
        forced = lm.tokenizer.decode(episode.token_ids[~episode.action_mask])
        assert forced.count("```python\n") >= 1


def test_the_same_search_through_any_engine_draws_the_same_first_round(lm: LanguageModel) -> None:
    ours = force_sampling_beam_search(lm, TASK, SOURCE, VowelsLiked(), CONFIG)
    theirs = force_sampling_beam_search(TorchEngine(lm), TASK, SOURCE, VowelsLiked(), CONFIG)
    texts = [[c.episode.completion for c in search.candidates if c.round == 1] for search in (ours, theirs)]
    assert texts[0] == texts[1]
    assert len(theirs.candidates) == 28


def test_a_larger_modifier_never_chooses_fewer_highlights_and_needs_no_new_search(lm: LanguageModel) -> None:
    found = force_sampling_beam_search(lm, TASK, SOURCE, VowelsLiked(), CONFIG)
    # what the tiny model writes is noise: give the candidates highlights to choose from
    candidates = tuple(replace(c, highlights=i % 5) for i, c in enumerate(found.candidates))
    search = replace(found, candidates=candidates)
    highlights = [search.chosen(m).highlights for m in (-100.0, -1.0, 0.0, 1.0, 100.0)]
    assert highlights == sorted(highlights)
    assert highlights[0] == 0
    assert highlights[-1] == 4
    assert search.chosen(0.0).score == max(c.score for c in candidates)
    assert search.chosen() is search.chosen(0.0)


def test_a_quote_that_does_not_occur_is_no_highlight() -> None:
    said = "    return items[len(items)]\n```\nOne too far.\n\n```python\nreturn nothing\n```\nNot there."
    found = force_sampling_beam_search(Says(said), TASK, SOURCE, VowelsLiked(), replace(CONFIG, rounds=2))
    assert [c.highlights for c in found.candidates if c.round == 1] == [1] * 4
    assert [c.highlights for c in found.candidates if c.round == 2] == [2] * 8
    assert [len(c.critique.findings) for c in found.candidates if c.round == 2] == [4] * 8
    assert found.tokens == 12 * 20


LINES = ["    return items[len(items)]", "def last(items):"]


def test_without_quotes_of_its_own_round_k_has_the_first_k_quotes_that_were_proposed(lm: LanguageModel) -> None:
    reward = VowelsLiked()
    found = force_sampling_beam_search(lm, TASK, SOURCE, reward, replace(CONFIG, own_quotes=False), LINES)
    assert reward.asked == [4, 8]  # as many rounds as quotes
    for candidate in found.candidates:
        assert [f.quote for f in candidate.critique.findings] == LINES[: candidate.round]
        assert candidate.highlights == candidate.round
    assert found.chosen(-100.0).highlights == 1
    assert found.chosen(100.0).highlights == 2


def test_without_quotes_of_its_own_a_continuation_ends_where_it_would_open_another() -> None:
    says = Says("One too far.\n\n```python\ndef last(items):\n```\nNot there.")
    free = force_sampling_beam_search(says, TASK, SOURCE, VowelsLiked(), CONFIG, LINES[:1])
    only = force_sampling_beam_search(says, TASK, SOURCE, VowelsLiked(), replace(CONFIG, own_quotes=False), LINES[:1])
    assert {len(c.critique.findings) for c in free.candidates if c.round == 1} == {2}
    assert [c.critique.findings for c in only.candidates] == [(Finding(LINES[0], "One too far."),)] * 4


def test_best_of_n_is_chosen_by_the_same_rule(lm: LanguageModel) -> None:
    sampling = Sampling(max_tokens=12)
    found = best_of(Branches(lm, TASK, width=28, max_tokens=60), SOURCE, VowelsLiked(), 28, sampling)
    assert len(found.candidates) == 28
    assert found.chosen().score == max(c.score for c in found.candidates)
    assert best_of(_EngineTree(TorchEngine(lm), TASK), SOURCE, VowelsLiked(), 3, sampling).tokens > 0


def test_best_of_n_takes_no_more_tokens_than_it_may(lm: LanguageModel) -> None:
    def drawn(tokens: int | None) -> list[str]:
        reward = VowelsLiked()
        tree = _EngineTree(TorchEngine(lm), TASK)
        found = best_of(tree, SOURCE, reward, 8, Sampling(max_tokens=12), tokens=tokens)
        assert tokens is None or found.tokens <= max(tokens, 12)
        assert reward.asked == [len(found.candidates)]
        return [c.episode.completion for c in found.candidates]

    everything = drawn(None)
    assert drawn(8 * 12) == everything
    assert drawn(4 * 12) == everything[: len(drawn(4 * 12))]
    assert 4 <= len(drawn(4 * 12)) < 8
    assert drawn(1) == everything[:1]  # there is always one to choose


QUOTE = "```python\n    return items[len(items)]\n```\n"


@pytest.mark.parametrize(
    ("text", "ended", "kept"),
    [
        (QUOTE + "One too far.", True, QUOTE + "One too far."),
        (QUOTE + "One too far.\n\nOverall this is fine.  ", True, QUOTE + "One too far."),
        (QUOTE + "One too far. Then it al", False, QUOTE + "One too far."),
        (QUOTE + "One too far. Then it al", True, QUOTE + "One too far. Then it al"),
        (QUOTE + "One too far.\n\n```python\ndef la", False, QUOTE + "One too far."),
        ("I looked.\n\n" + QUOTE + "Bad.", True, "I looked.\n\n" + QUOTE + "Bad."),
        ("```python\ndef la", False, ""),
        ("No quote.\n\nNone at all.", True, "No quote."),
        ("", True, ""),
        ("```python\na\n\nb\n```\nBlank lines are code here.", True, "```python\na\n\nb\n```\nBlank lines are code here."),
    ],
)  # fmt: skip
def test_loose_ends_are_cut_off_and_quotes_stay(text: str, ended: bool, kept: str) -> None:
    assert _tidy(text, ended) == kept
    assert len(parse_critique(_tidy(text, ended)).findings) <= len(parse_critique(text).findings)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match="beams is 0"):
        SearchConfig(beams=0)
    with pytest.raises(InputError, match="temperature"):
        SearchConfig(temperature=0.0)


def test_a_prompt_that_leaves_no_room_is_said(lm: LanguageModel) -> None:
    with pytest.raises(InputError, match="reply of"):
        force_sampling_beam_search(lm, TASK, SOURCE, VowelsLiked(), SearchConfig(max_tokens=400))
