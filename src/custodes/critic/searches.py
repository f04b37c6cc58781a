"""Searches on the record: each is written with all its candidates once it is done, and is not made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custodes.critic.policies import Question
from custodes.critic.search import Search, SearchConfig, candidate
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation

SEARCHED = "searched"
"""Name of the evaluation rows that hold a search: its candidates' episodes, scores and rounds."""


def search_each(
    work: Workspace, purpose: str, asked: Sequence[Question], config: SearchConfig, search: Callable[[int], Search]
) -> list[Search]:
    """``search(i)`` for every question that ``work`` has no search of under ``purpose``; those that it has as they were."""
    recorded = {e.id: e.metrics for e in work.ledger.evaluations(work.run, SEARCHED) if e.subject == purpose}
    episodes = {e.id: e for e in work.ledger.episodes(work.run)} if recorded else {}
    found: list[Search] = []
    with work.progress(f"searching {purpose}", len(asked)) as advance:
        for i, q in enumerate(asked):
            id = f"{SEARCHED}-{purpose}-{i}"
            if id in recorded:
                told = recorded[id]
                rows = zip(told["episode"], told["score"], told["round"], strict=True)
                candidates = tuple(candidate(episodes[e], q.code, score, round) for e, score, round in rows)
                found.append(Search(candidates, told["tokens"], config))
            else:
                found.append(search(i))
                _record(work, id, purpose, found[-1])
            advance(1)
    return found


def _record(work: Workspace, id: str, purpose: str, search: Search) -> None:
    told = {
        "episode": [c.episode.id for c in search.candidates],
        "score": [c.score for c in search.candidates],
        "round": [c.round for c in search.candidates],
        "tokens": search.tokens,
    }
    episodes = {c.episode.id: c.episode for c in search.candidates}  # two may have come out alike
    work.ledger.write(work.run, [*episodes.values(), Evaluation(id, SEARCHED, purpose, told, len(search.candidates))])
    work.tokens_sampled += search.tokens
