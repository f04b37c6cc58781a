"""A critic that searches: of the critiques that it meets, the one that a reward and the strictness choose."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from custodes.critic.lines import ScoresLines
from custodes.critic.review.critics import EngineDied, Remark, moved
from custodes.critic.review.line_critic import at_margin
from custodes.critic.review.question import (
    INSTRUCTION,
    SUSPICIOUS,
    control_words,
    halves,
    opening_of,
    plain_question,
    task_of,
)
from custodes.critic.review.snippets import Snippet
from custodes.critic.search import Search, SearchConfig, force_sampling_beam_search
from custodes.feedback.critique import Finding, Place, locate
from custodes.lm import LanguageModel
from custodes.types import Engine, InputError, Reward, hash_shown


class SearchCritic:
    """Force sampling beam search over one snippet; strictness is the search's modifier, what a highlight is worth.

    Where there is a scorer of lines, it proposes the quotes that are forced first, and the probability of the quoted
    lines is the confidence. Without one, the confidence is the share of the candidates that quote the place, weighted by
    the exponential of their reward: not calibrated.
    """

    def __init__(
        self,
        critic: LanguageModel | Engine,
        reward: Reward,
        name: str,
        config: SearchConfig | None = None,
        scorer: ScoresLines | None = None,
    ) -> None:
        self.critic, self.reward, self.name = critic, reward, name
        self.config, self.scorer = config or SearchConfig(), scorer
        self.words = control_words(critic.tokenizer) if isinstance(critic, LanguageModel) else []

    @property
    def fingerprint(self) -> str:
        return hash_shown("search", self.name, INSTRUCTION, str(self.config), str(self.scorer is not None))

    def review(self, snippet: Snippet) -> list[Remark]:
        if not self._fits(snippet):
            return sorted((r for half in halves(snippet) for r in self.review(half)), key=lambda r: -r.confidence)
        lines = np.zeros(snippet.code.count("\n") + 1)
        if self.scorer is not None and snippet.kind == "code":
            (scores,) = self.scorer.scores([at_margin(snippet.code) + "\n"])
            lines = scores.lines[: len(lines)]
        search = self._searched(snippet, proposed_quotes(snippet.code, lines, self.config.rounds))
        chosen = search.chosen()
        remarks = []
        for places, finding in _quoting(chosen.critique.findings, snippet):
            if not lines.any():
                confidence = _share(search, places, snippet)
            else:
                confidence = float(sum(lines[n - 1] for p in places for n in range(p.start, p.end + 1)))
            comment = plain_question(finding.comment, self.words) or SUSPICIOUS
            shown = Finding(finding.quote, comment)
            # the modifier has chosen, so that nothing is left for the strictness to hide
            remarks.append(Remark(shown, moved(places, snippet), min(1.0, confidence), abs(self.config.modifier)))
        return sorted(remarks, key=lambda r: (-r.confidence, r.places[0].start))

    def _searched(self, snippet: Snippet, proposed: list[str]) -> Search:
        config = replace(self.config, opening=opening_of(snippet))
        task = task_of(snippet, self.words)
        try:
            return force_sampling_beam_search(self.critic, task, snippet.code, self.reward, config, proposed)
        except InputError as error:
            if isinstance(self.critic, LanguageModel):
                raise
            raise EngineDied(str(error)) from None

    def _fits(self, snippet: Snippet) -> bool:
        """Whether a local model's context holds the question and the longest critique; an endpoint's is not known."""
        if not isinstance(self.critic, LanguageModel):
            return True
        prompt = len(self.critic.encode(task_of(snippet, self.words).messages))
        return prompt + self.config.rounds * (self.config.max_tokens + 64) <= self.critic.decoder.spec.context


def proposed_quotes(code: str, lines: np.ndarray, most: int) -> list[str]:
    """The likeliest lines of the code, at least half as likely as the one before; none where nothing is known."""
    order = [int(i) for i in np.argsort(-lines, kind="stable")[:most] if lines[i] > 0]
    texts = code.split("\n")
    kept = order[:1]
    for before, after in pairwise(order):
        if lines[after] < lines[before] / 2:
            break
        kept.append(after)
    return list(dict.fromkeys(texts[i] for i in kept if "```" not in texts[i]))


def _quoting(findings: tuple[Finding, ...], snippet: Snippet) -> list[tuple[tuple[Place, ...], Finding]]:
    """Findings whose quote occurs, each place once."""
    found: dict[tuple[Place, ...], Finding] = {}
    for finding in findings:
        if places := tuple(Place(p.start, p.end) for p in locate(finding.quote, snippet.code)):
            found.setdefault(places, finding)
    return list(found.items())


def _share(search: Search, places: tuple[Place, ...], snippet: Snippet) -> float:
    """Of the candidates, each weighted by the exponential of its reward, those that quote the place."""
    scores = np.array([c.score for c in search.candidates])
    weight = np.exp(scores - scores.max())
    quotes = [any(found == places for found, _ in _quoting(c.critique.findings, snippet)) for c in search.candidates]
    return float(weight[np.array(quotes)].sum() / weight.sum())
