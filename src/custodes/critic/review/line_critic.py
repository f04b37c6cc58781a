"""A critic made of a scorer of lines: it says where, and what is wrong there.

The confidence is the scorer's own, calibrated where the scorer is. What is said of a line comes from the scorer where it
can say, else from a model that is made to quote the line.
"""

from __future__ import annotations

import math

import numpy as np

from custodes.critic.lines import LineScores, ScoresLines
from custodes.critic.review.critics import WORTH_A_COMMENT, Remark, moved
from custodes.critic.review.question import Commentator, defused, plain_question
from custodes.critic.review.snippets import Snippet
from custodes.feedback.critique import Finding, Place
from custodes.types import InputError, hash_shown


class LineCritic:
    """Reports the lines that the scorer would report; ``strictness`` moves both of its limits, in nats.

    At 0 those are the scorer's threshold and half the probability of the likeliest line. Lines below are not handed on,
    so that no comment is written for nothing. ``name`` tells the scorer from others in the cache.
    """

    def __init__(
        self, scorer: ScoresLines, name: str, commentator: Commentator | None = None, strictness: float = 0.0
    ) -> None:
        self.scorer, self.name, self.commentator, self.strictness = scorer, name, commentator, strictness

    @property
    def fingerprint(self) -> str:
        said = self.commentator.fingerprint if self.commentator else ""
        limits = (str(self.scorer.threshold), str(self.scorer.temperature), str(self.strictness))
        return hash_shown("lines", self.name, *limits, said)

    def review(self, snippet: Snippet) -> list[Remark]:
        if snippet.kind != "code":
            raise InputError("a scorer of lines reads code; for answers take a model that writes.")
        words = self.commentator.words if self.commentator else []
        (scores,) = self.scorer.scores([defused(at_margin(snippet.code), words) + "\n"])
        chosen = self._chosen(scores, snippet.code.split("\n"))
        comments = self._comments(scores, snippet, [(places[0].start, quote) for quote, places, _, _ in chosen])
        return [
            Remark(Finding(quote, comment), moved(places, snippet), confidence, score)
            for (quote, places, confidence, score), comment in zip(chosen, comments, strict=True)
        ]

    def _chosen(self, scores: LineScores, lines: list[str]) -> list[tuple[str, tuple[Place, ...], float, float]]:
        """(quote, places in the snippet, confidence, score) of the lines to report; a text that occurs twice once."""
        found: dict[str, tuple[str, tuple[Place, ...], float, float]] = {}
        for number in scores.order()[:WORTH_A_COMMENT].tolist():
            score = _evidence(scores, number, self.scorer.threshold)
            if number > len(lines) or lines[number - 1] in found or score + self.strictness < 0:
                continue
            quote = lines[number - 1]
            others = [k for k, line in enumerate(lines, 1) if line == quote and k != number]
            places = tuple(Place(k, k) for k in [number, *others])
            confidence = float(sum(scores.lines[p.start - 1] for p in places))
            found[quote] = quote, places, min(1.0, confidence), score
        return sorted(found.values(), key=lambda row: -row[2])

    def _comments(self, scores: LineScores, snippet: Snippet, wanted: list[tuple[int, str]]) -> list[str]:
        silent = [quote for line, quote in wanted if line not in scores.messages]
        said = self.commentator.on(snippet, silent) if self.commentator and silent else []
        written = dict(zip(silent, said, strict=False))
        return [written.get(quote) or plain_question(scores.message(line)) for line, quote in wanted]


def _evidence(scores: LineScores, line: int, threshold: float) -> float:
    """Nats by which a line, from 1, is beyond what is needed to report it; exactly the lines of ``scores.found`` are at
    0 or above."""
    alarm, p = 1 - scores.none, float(scores.lines[line - 1])
    if p <= 0:
        return -math.inf
    over = _logit(alarm) - _logit(threshold)
    if alarm < threshold:  # by less than the logarithm shows
        over = min(over, -1e-9)
    within = math.log(2 * p / float(scores.lines.max()))
    return min(over, 0.0 if p >= scores.lines.max() / 2 and within < 0 else within)


def at_margin(code: str) -> str:
    """The code with the first line at the left margin, as scorers have seen functions; lines keep their numbers."""
    margin = code[: len(code) - len(code.lstrip())].split("\n")[-1]
    return "\n".join(line.removeprefix(margin) for line in code.split("\n")) if margin else code


def _logit(p: float) -> float:
    p = float(np.clip(p, 1e-12, 1 - 1e-12))
    return math.log(p) - math.log1p(-p)
