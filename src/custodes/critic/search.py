"""Force sampling beam search (FSBS): critiques with more or fewer findings, by one number (arXiv 2407.00215, section 3).

A critic is made to quote: the opening of a code block is appended to what it has written. A few continuations are drawn, and
those that the reward likes best are kept. Their loose ends are cut off, and the next quote is forced. With the defaults that
is 4 + 3 x 2 x 4 = 28 candidates. The chosen one maximises

    reward + modifier * number of highlights

where a highlight is a quote that occurs in what is reviewed: a quote that does not is no evidence of having looked. All
scores are kept, so that another modifier needs no new search. Whole quotes may be forced in place of their openings, as a
scorer of lines proposes them: the critic then writes what it has to say of each. It goes on to quotes of its own where it
may (``own_quotes``); where it may not, round k gives critiques of exactly k findings, and the modifier reaches from one
finding on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from custodes.feedback.critique import FENCE, Critique, hallucinated, parse_critique
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation
from custodes.lm.branches import Branches
from custodes.lm.loading import LanguageModel
from custodes.ranges import AnyFloat, Count, Positive, ranged
from custodes.types import Engine, Episode, Reward, Sampling, Task

B = TypeVar("B")
NEXT_QUOTE = ("\n\n```",)
"""How a critique goes on to another quote, as :func:`~custodes.feedback.critique.write_critique` writes it."""
SEARCHED = "searched"
"""Name of the evaluation rows that hold a search: its candidates' episodes, scores and rounds."""
SENTENCE = re.compile(r"[.!?](?=\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class SearchConfig:
    """How critiques are searched for."""

    rounds: Count = 4
    """Quotes that are forced, one after another."""
    samples: Count = 4
    """Continuations of each beam."""
    beams: Count = 2
    """Partial critiques that are kept after each round."""
    max_tokens: Count = 96
    """Longest continuation."""
    temperature: Positive = 1.0
    """Of the continuations."""
    opening: str = "```python\n"
    """The words that force a quote."""
    own_quotes: bool = True
    """Whether a continuation may go on to quotes that were not forced. Without them it ends where it would open one, and
    where quotes are proposed there are no more rounds than those."""
    modifier: AnyFloat = 0.0
    """What a highlight is worth, in units of the reward."""
    seed: int = 0
    """Decides what is drawn."""

    @property
    def width(self) -> int:
        """Continuations drawn at once."""
        return self.samples * self.beams

    @property
    def candidates(self) -> int:
        """Critiques scored in all; fewer where fewer quotes are proposed and there are no others."""
        return self.samples + (self.rounds - 1) * self.width


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A critique that the search met."""

    episode: Episode
    critique: Critique
    highlights: int
    score: float
    round: int  # from 1


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Every candidate of a search, in the order in which they were drawn."""

    candidates: tuple[Candidate, ...]
    tokens: int
    """Drawn in all."""
    config: SearchConfig = field(default_factory=SearchConfig)

    def chosen(self, modifier: float | None = None) -> Candidate:
        """The candidate of the largest reward + modifier * highlights; the first among equals."""
        worth = self.config.modifier if modifier is None else modifier
        values = [c.score + worth * c.highlights for c in self.candidates]
        return self.candidates[int(np.argmax(values))]


class Tree(Protocol[B]):
    """Partial replies to one task that can be gone on with; :class:`~custodes.lm.branches.Branches` is one."""

    root: B

    def grow(self, starts: Sequence[tuple[B, str]], sampling: Sampling) -> list[B]:
        """``sampling.n`` replies from each start, side by side; they begin with its text."""
        ...

    def episode(self, branch: B) -> Episode:
        """The reply as an episode."""
        ...


@dataclass(eq=False)
class _EngineTree:
    """Replies of any engine that continues prefixes (vLLM, endpoints): the engine sees to what they share."""

    engine: Engine
    task: Task
    root: Episode | None = None

    def grow(self, starts: Sequence[tuple[Episode | None, str]], sampling: Sampling) -> list[Episode | None]:
        texts = [text for _, text in starts]
        return list(self.engine.generate([self.task] * len(texts), sampling, prefixes=texts))

    def episode(self, branch: Episode | None) -> Episode:
        assert branch is not None, "the root is no reply"
        return branch


def force_sampling_beam_search(
    critic: LanguageModel | Engine,
    task: Task,
    source: str,
    reward: Reward,
    config: SearchConfig | None = None,
    proposed: Sequence[str] = (),
) -> Search:
    """Search for a critique of ``source``, which ``task`` asks for, that ``reward`` likes and that quotes.

    A model is searched with its prompt computed once and beams as branches of it; an engine by its prefixes. Round k
    forces the k-th quote of ``proposed``, and when there is none left the opening of one that the critic writes itself
    (without ``own_quotes`` only where none is proposed at all).
    Raises InputError where the prompt and the longest critique do not fit the model's context.
    """
    config = config or SearchConfig()
    openings = _openings(config, proposed)
    if not isinstance(critic, LanguageModel):
        return _search(_EngineTree(critic, task), source, reward, config, openings)
    longest = sum(config.max_tokens + len(critic.encode_reply(f"\n\n{opening}")) for opening in openings)
    return _search(Branches(critic, task, width=config.width, max_tokens=longest), source, reward, config, openings)


def best_of(
    tree: Tree[B],
    source: str,
    reward: Reward,
    n: int,
    sampling: Sampling,
    opening: str = "",
    tokens: int | None = None,
) -> Search:
    """Plain sampling to compare with: ``n`` whole critiques, the best of which is chosen by the same rule.

    With ``tokens`` plain sampling takes no more of them than a search may: only the critiques count that were drawn first and
    that so many tokens pay for.
    """
    grown = tree.grow([(tree.root, opening)], replace(sampling, n=n))
    episodes = [tree.episode(branch) for branch in grown]
    if tokens is not None:
        spent = np.cumsum([_drawn(e) for e in episodes])
        episodes = episodes[: max(1, int((spent <= tokens).sum()))]
    config = SearchConfig(rounds=1, samples=n, beams=1, max_tokens=sampling.max_tokens, opening=opening or "```\n")
    return Search(tuple(_candidates(episodes, source, reward, 1)), sum(_drawn(e) for e in episodes), config)


def _tidy(text: str, ended: bool = True) -> str:
    """What is kept of a critique before the next quote is forced.

    Its last paragraph goes when it neither holds a quote nor is the comment on one, a block that was not closed goes,
    and where the text did not end by itself (``ended``), so does an unfinished last sentence of a comment.
    """
    lines, fence, closed = text.rstrip().split("\n"), "", 0
    opened = 0
    for i, line in enumerate(lines):
        mark = FENCE.match(line)
        if mark and not fence:
            fence, opened = mark[1], i
        elif mark and len(mark[1]) >= len(fence) and line.strip() == mark[1]:
            fence, closed = "", i + 1
    if fence:  # not closed: the quote cannot be known
        return _tidy("\n".join(lines[:opened]), True) if opened else ""
    before, after = "\n".join(lines[:closed]), "\n".join(lines[closed:]).strip("\n")
    paragraphs = [p for p in re.split(r"\n\s*\n", after) if p.strip()]
    if not closed:
        return paragraphs[0].strip() if paragraphs else ""
    if len(paragraphs) > 1:
        paragraphs = paragraphs[:-1]
    elif paragraphs and not ended and (sentences := list(SENTENCE.finditer(paragraphs[0]))):
        paragraphs = [paragraphs[0][: sentences[-1].end()]]
    return "\n".join([before, "\n\n".join(paragraphs)]).rstrip()


# ---------------------------------------------------------------- the search


def _openings(config: SearchConfig, proposed: Sequence[str]) -> list[str]:
    """The words that each round forces."""
    quotes = [f"{config.opening}{quote}\n```\n" for quote in proposed[: config.rounds]]
    if quotes and not config.own_quotes:
        return quotes
    return quotes + [config.opening] * (config.rounds - len(quotes))


def _search(tree: Tree[B], source: str, reward: Reward, config: SearchConfig, openings: Sequence[str]) -> Search:
    starts: list[tuple[B, str]] = [(tree.root, openings[0])]
    found: list[Candidate] = []
    for number in range(1, len(openings) + 1):
        sampling = Sampling(
            n=config.samples,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            stop=() if config.own_quotes else NEXT_QUOTE,
            seed=config.seed + number,
        )
        grown = tree.grow(starts, sampling)
        drawn = _candidates([tree.episode(branch) for branch in grown], source, reward, number)
        found += drawn
        best = sorted(range(len(drawn)), key=lambda i: -drawn[i].score)[: config.beams]
        if number < len(openings):
            starts = [(grown[i], _forced(drawn[i].episode, openings[number])) for i in best]
    return Search(tuple(found), sum(_drawn(c.episode) for c in found), config)


def _candidates(episodes: Sequence[Episode], source: str, reward: Reward, number: int) -> list[Candidate]:
    scores = reward.score(episodes).value
    return [_candidate(e, source, float(score), number) for e, score in zip(episodes, scores, strict=True)]


def _candidate(episode: Episode, source: str, score: float, round: int) -> Candidate:
    critique = parse_critique(episode.completion)
    highlights = sum(not hallucinated(finding, source) for finding in critique.findings)
    return Candidate(episode, critique, highlights, score, round)


def _forced(episode: Episode, opening: str) -> str:
    """The words with which a kept critique goes on."""
    kept = _tidy(episode.completion, episode.outcome == "stop")
    return f"{kept}\n\n{opening}" if kept else opening


def _drawn(episode: Episode) -> int:
    """Tokens drawn after the last forced one."""
    if not len(episode.action_mask):  # an endpoint that hands out no tokens
        return int(episode.cost["completion_tokens"])
    forced = np.flatnonzero(~episode.action_mask)
    return len(episode.action_mask) - (int(forced[-1]) + 1 if len(forced) else 0)


# ---------------------------------------------------------------- on the record


def search_each(
    work: Workspace, purpose: str, sources: Sequence[str], config: SearchConfig, search: Callable[[int], Search]
) -> list[Search]:
    """``search(i)`` for every source that ``work`` has no search of under ``purpose``; those that it has as they were.

    Each is written with all its candidates once it is done.
    """
    recorded = {e.id: e.metrics for e in work.ledger.evaluations(work.run, SEARCHED) if e.subject == purpose}
    episodes = {e.id: e for e in work.ledger.episodes(work.run)} if recorded else {}
    found: list[Search] = []
    with work.progress(f"searching {purpose}", len(sources)) as advance:
        for i, source in enumerate(sources):
            id = f"{SEARCHED}-{purpose}-{i}"
            if row := recorded.get(id):
                rows = zip(row["episode"], row["score"], row["round"], strict=True)
                known = tuple(_candidate(episodes[e], source, score, number) for e, score, number in rows)
                found.append(Search(known, row["tokens"], config))
            else:
                found.append(search(i))
                met, tokens = found[-1].candidates, found[-1].tokens
                row = {"episode": [c.episode.id for c in met], "score": [c.score for c in met]}
                row |= {"round": [c.round for c in met], "tokens": tokens}
                drawn = {c.episode.id: c.episode for c in met}  # two may have come out alike
                work.tokens_sampled += tokens
                work.write([*drawn.values(), Evaluation(id, SEARCHED, purpose, row, len(met))])
            advance(1)
    return found
