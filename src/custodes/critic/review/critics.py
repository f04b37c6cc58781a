"""Critics that review: any local model by the likelihood of quotes, any engine by sampled critiques."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from custodes.critic.review.question import (
    CLEAN,
    INSTRUCTION,
    SUSPICIOUS,
    Commentator,
    defused,
    halves,
    opening_of,
    plain_question,
    task_of,
)
from custodes.critic.review.snippets import Snippet, parsed_python
from custodes.feedback.critique import Critique, Finding, Place, locate, parse_critique
from custodes.lm import LanguageModel
from custodes.types import Engine, Episode, InputError, Sampling, Task, hash_shown

WORTH_A_COMMENT = 3  # quotes of one snippet
EMPTY = ("else:", "try:", "finally:", "pass")
SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)")
TWICE = float(np.log(2))


class EngineDied(Exception):  # noqa: N818 (the engine's, not ours)
    """The engine gave no answer; what was reviewed before stays."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding at its places in the file. ``confidence`` is 0 to 1; it is shown where ``score`` plus strictness is not
    below 0."""

    finding: Finding
    places: tuple[Place, ...]
    confidence: float
    score: float


class Critic(Protocol):
    """Anything that reviews code. ``fingerprint`` names what decides its answers, for the cache."""

    @property
    def fingerprint(self) -> str: ...

    def review(self, snippet: Snippet) -> list[Remark]:
        """Remarks in falling order of confidence. Raises EngineDied where no answer comes."""
        ...


class LikelihoodCritic:
    """A local model. Every line is a quote that it could begin with; its probability is the confidence.

    The confidence of a line is the probability of a quote (against the answer that there is no problem) times the share
    of the line among all lines. A line is worth showing from twice the share that each would have by chance. Of an
    assistant's answer it is sentences that are quoted. The comments on the likeliest are written by the model. No
    training is needed, and without training none of this is calibrated.
    """

    def __init__(self, lm: LanguageModel, *, comment_tokens: int = 60) -> None:
        self.lm, self.commentator = lm, Commentator(lm, comment_tokens)
        self.engine, self.words = self.commentator.engine, self.commentator.words

    @property
    def fingerprint(self) -> str:
        return hash_shown("likelihood", self.commentator.fingerprint)

    def review(self, snippet: Snippet) -> list[Remark]:
        numbers = _quotable(snippet)
        if not numbers:
            return []
        quotes = list(numbers)
        if not self.commentator.fits(snippet, quotes):
            return sorted((r for half in halves(snippet) for r in self.review(half)), key=lambda r: -r.confidence)
        task, opening = task_of(snippet, self.words), opening_of(snippet)
        said = self._quote_or_not(task, opening)
        logp = self._logprobs(task, opening, [f"{defused(quote, self.words)}\n```" for quote in quotes])
        share = np.exp(logp - np.logaddexp.reduce(logp))
        order = np.argsort(-share, kind="stable")[:WORTH_A_COMMENT]
        comments = self.commentator.on(snippet, [quotes[i] for i in order])
        return [
            Remark(
                Finding(quotes[i], comment),
                tuple(Place(snippet.first + n - 1, snippet.first + n - 1) for n in numbers[quotes[i]]),
                float(said * share[i]),
                float(np.log(share[i] * len(quotes)) - TWICE),
            )
            for i, comment in zip(order, comments, strict=True)
        ]

    def _quote_or_not(self, task: Task, opening: str) -> float:
        quote, none = self._logprobs(task, "", [opening, CLEAN])
        return float(1 / (1 + np.exp(none - quote)))

    def _logprobs(self, task: Task, start: str, texts: Sequence[str]) -> np.ndarray:
        """(n,) nats: of each text as the reply, or as what follows ``start`` in it."""
        prompt = self.lm.encode(task.messages, start)
        episodes = []
        for i, text in enumerate(texts):
            ids = np.asarray(self.lm.chat.text(text, opens=not start), np.int32)
            whole = np.concatenate([prompt, ids])
            mask = np.arange(len(whole)) >= len(prompt)
            nothing = np.zeros(len(whole), np.float32)
            episodes.append(Episode(str(i), task, task.messages, whole, mask, nothing, "stop", ""))
        return np.array([float(values.sum()) for values in self.engine.logprobs(episodes)])


class SampledCritic:
    """Any engine. Several critiques are drawn; the confidence of a place is the share of them that quote it.

    A place is worth showing when half of the critiques quote it. Quotes that do not occur in the code are dropped.
    """

    def __init__(self, engine: Engine, name: str, *, samples: int = 4, max_tokens: int = 400) -> None:
        if samples < 1:
            raise InputError(f"a critic draws {samples} critiques; give 1 or more.")
        self.engine, self.name, self.samples, self.max_tokens = engine, name, samples, max_tokens

    @property
    def fingerprint(self) -> str:
        return hash_shown("sampled", self.name, INSTRUCTION, str(self.samples), str(self.max_tokens))

    def review(self, snippet: Snippet) -> list[Remark]:
        sampling = Sampling(temperature=0.7 if self.samples > 1 else 0.0, max_tokens=self.max_tokens, n=self.samples)
        try:
            replies = self.engine.generate([task_of(snippet)], sampling)
        except InputError as error:
            raise EngineDied(str(error)) from None
        answered = [reply for reply in replies if reply.outcome != "error"]
        if not answered:
            raise EngineDied("no request was answered")
        return _remarks_of([parse_critique(reply.completion) for reply in answered], snippet)


def _remarks_of(critiques: Sequence[Critique], snippet: Snippet) -> list[Remark]:
    """Findings that quote the code, together where several critiques quote the same place."""
    found: dict[tuple[Place, ...], list[tuple[int, Finding]]] = {}
    for number, critique in enumerate(critiques):
        for finding in critique.findings:
            if places := tuple(Place(p.start, p.end) for p in locate(finding.quote, snippet.code)):
                found.setdefault(places, []).append((number, finding))
    remarks = []
    for places, findings in found.items():
        confidence = len({number for number, _ in findings}) / len(critiques)
        comment = max((plain_question(f.comment) for _, f in findings), key=len) or SUSPICIOUS
        remark = Remark(Finding(findings[0][1].quote, comment), moved(places, snippet), confidence, confidence - 0.5)
        remarks.append(remark)
    return sorted(remarks, key=lambda r: (-r.confidence, r.places[0].start))


def moved(places: Sequence[Place], snippet: Snippet) -> tuple[Place, ...]:
    """Places in the snippet as places in its file."""
    return tuple(Place(p.start + snippet.first - 1, p.end + snippet.first - 1) for p in places)


def _quotable(snippet: Snippet) -> dict[str, list[int]]:
    """Texts that a quote can be -> the numbers, from 1, of their lines."""
    found = dict[str, list[int]]()
    for number, text in _sentences(snippet.code) if snippet.kind == "answer" else _statements(snippet.code):
        found.setdefault(text, []).append(number)
    return found


def _statements(code: str) -> list[tuple[int, str]]:
    """Lines that can hold a bug: no comments, docstrings, decorators or lone brackets."""
    inside, found = _docstring_lines(code), []
    for number, line in enumerate(code.split("\n"), 1):
        bare = line.strip()
        says = re.search(r"\w", bare) and not bare.startswith(("#", "@", '"""', "'''")) and bare not in EMPTY
        if says and number not in inside:
            found.append((number, line))
    return found


def _sentences(text: str) -> list[tuple[int, str]]:
    """Sentences of prose; none goes beyond its line."""
    return [
        (number, match[0])
        for number, line in enumerate(text.split("\n"), 1)
        for match in SENTENCE.finditer(line)
        if re.search(r"\w", match[0])
    ]


def _docstring_lines(code: str) -> set[int]:
    try:
        tree = parsed_python(textwrap.dedent(code))
    except SyntaxError:
        return set()
    alone = (n for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
    return {line for n in alone for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}
