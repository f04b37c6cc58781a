"""Force sampling beam search over one answer of about 300 tokens: searches per minute.

    python benchmarks/fsbs.py --json
    python benchmarks/fsbs.py --peer transformers --peer-python .peers/bin/python --json

4 rounds, 4 continuations of each of 2 beams, 28 candidates of 48 new tokens each. The peer is the same search with
``transformers.generate`` called for every beam. Candidates are scored by how many words they hold, so that what is
timed is the search. Ours also runs with the same number of whole critiques and no search (best of 28), at equal tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from harness import compare, dtype_name, open_peer, options, report, run
from workloads import (
    ANSWER,
    FSBS_BEAMS,
    FSBS_OPENING,
    FSBS_ROUNDS,
    FSBS_SAMPLES,
    FSBS_TOKENS,
    distinct_words,
    review_prompt,
)

import custodes.critic.search as search_file
from custodes.critic.search import SearchConfig, best_of, force_sampling_beam_search
from custodes.lm.branches import Branches
from custodes.lm.loading import LanguageModel, load, model_folder
from custodes.types import Episode, Message, Sampling, Scores, Task

PEERS = {"transformers": ["hf_fsbs.py"]}


class Words:
    """A reward that costs nothing."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([distinct_words(episode.completion) for episode in episodes]))


def main() -> None:
    chosen = options(__doc__, PEERS).parse_args()
    lm = load(chosen.model)
    task = Task("review", (Message("user", review_prompt()),))
    print(f"The answer has {len(lm.encode_reply(ANSWER)) - 1} tokens, the prompt {len(lm.encode(task.messages))}.")
    full_length()
    works = {"search": lambda: search(lm, task), "best of 28": lambda: plain(lm, task)}
    with open_peer(chosen, PEERS, str(model_folder(chosen.model)), dtype_name(lm)) as peer:
        result = compare(lambda work: works[work](), peer, ["search"], chosen.rounds)
        alone = compare(lambda work: works[work](), None, ["best of 28"], 1)
    result["best_of_28_per_minute"] = alone["ours"]
    report(result, benchmark="fsbs", peer=chosen.peer, unit="searches per minute", as_json=chosen.json)


def search(lm: LanguageModel, task: Task) -> float:
    config = SearchConfig(
        rounds=FSBS_ROUNDS, samples=FSBS_SAMPLES, beams=FSBS_BEAMS, max_tokens=FSBS_TOKENS, opening=FSBS_OPENING
    )
    found = force_sampling_beam_search(lm, task, ANSWER, Words(), config)
    assert found.tokens == 28 * FSBS_TOKENS
    return 60.0


def plain(lm: LanguageModel, task: Task) -> float:
    sampling = Sampling(max_tokens=FSBS_TOKENS, min_tokens=FSBS_TOKENS)
    best_of(
        Branches(lm, task, width=28, max_tokens=FSBS_TOKENS + 16, policy="benchmark"), ANSWER, Words(), 28, sampling
    )
    return 60.0


def full_length() -> None:
    """Every continuation has all its tokens, on both sides: a real model's own ends differ from run to run."""

    def sampling(**given: object) -> Sampling:
        return Sampling(**given, min_tokens=given["max_tokens"])  # type: ignore[arg-type]

    search_file.Sampling = sampling  # type: ignore[misc,assignment]


if __name__ == "__main__":
    run(main)
