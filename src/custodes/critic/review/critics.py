"""Critics that review: by the likelihood of quotes, by sampled critiques, by a scorer of lines, and by a search."""

from __future__ import annotations

import ast
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.special import logit

from custodes.critic.lines import LineScores, ScoresLines
from custodes.critic.review.commentator import Commentator
from custodes.critic.review.question import (
    CLEAN,
    INSTRUCTION,
    SUSPICIOUS,
    control_words,
    defused,
    halves,
    opening_of,
    plain_question,
    task_of,
)
from custodes.critic.review.remarks import Critic, EngineDied, Remark
from custodes.critic.review.snippets import Snippet, parsed_python
from custodes.critic.search import Search, SearchConfig, force_sampling_beam_search
from custodes.feedback.critique import Finding, Place, locate, parse_critique
from custodes.lm.choices import choice_logprobs
from custodes.lm.given import continued
from custodes.lm.loading import LanguageModel
from custodes.types import Engine, InputError, Reward, Sampling, Task, hash_shown

WORTH_A_COMMENT = 3  # quotes of one snippet
EMPTY = ("else:", "try:", "finally:", "pass")
SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)")
TWICE = float(np.log(2))


Places = tuple[Place, ...]


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
            return _of_halves(self, snippet)
        task, opening = task_of(snippet, self.words), opening_of(snippet)
        quote, none = choice_logprobs(self.engine, [task], [opening, CLEAN])[0]
        said = 1 / (1 + np.exp(none - quote))  # the probability of a quote at all
        logp = self._logprobs(task, opening, [f"{defused(quote, self.words)}\n```" for quote in quotes])
        share = np.exp(logp - np.logaddexp.reduce(logp))
        order = np.argsort(-share, kind="stable")[:WORTH_A_COMMENT]
        remarks = []
        for i, comment in zip(order, self.commentator.on(snippet, [quotes[i] for i in order]), strict=True):
            places = _in_file([Place(n, n) for n in numbers[quotes[i]]], snippet)
            evidence = float(np.log(share[i] * len(quotes)) - TWICE)
            remarks.append(Remark(Finding(quotes[i], comment), places, float(said * share[i]), evidence))
        return remarks

    def _logprobs(self, task: Task, start: str, texts: Sequence[str]) -> np.ndarray:
        """(n,) nats: of each text as what follows ``start`` in the reply."""
        prompt = self.lm.encode(task.messages, start)
        replies = [np.asarray(self.lm.chat.text(text, opens=False), np.int32) for text in texts]
        episodes = [continued(task, prompt, np.concatenate([prompt, reply])) for reply in replies]
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
        quoting = [_quoting_findings(parse_critique(reply.completion).findings, snippet) for reply in answered]
        remarks = []
        for places in dict.fromkeys(places for found in quoting for places in found):
            findings = [finding for found in quoting for finding in found.get(places, ())]
            confidence = sum(places in found for found in quoting) / len(answered)
            comment = max((plain_question(f.comment) for f in findings), key=len) or SUSPICIOUS
            finding = Finding(findings[0].quote, comment)
            remarks.append(Remark(finding, _in_file(places, snippet), confidence, confidence - 0.5))
        return sorted(remarks, key=_by_confidence)


class LineCritic:
    """Remarks on the likeliest lines of a scorer, whatever their score, so that they are kept apart from the strictness.

    A score of 0 is the scorer's own limit: its threshold, and half the probability of the likeliest line. ``name`` tells
    the scorer from others in the cache.
    """

    def __init__(self, scorer: ScoresLines, name: str, commentator: Commentator | None = None) -> None:
        self.scorer, self.name, self.commentator = scorer, name, commentator

    @property
    def fingerprint(self) -> str:
        said = self.commentator.fingerprint if self.commentator else ""
        return hash_shown("lines", self.name, str(self.scorer.threshold), str(self.scorer.temperature), said)

    def review(self, snippet: Snippet) -> list[Remark]:
        (remarks,) = self.review_all([snippet])
        return remarks

    def review_all(self, snippets: Sequence[Snippet]) -> list[list[Remark]]:
        if any(snippet.kind != "code" for snippet in snippets):
            raise InputError("a scorer of lines reads code; for answers take a model that writes.")
        words = self.commentator.words if self.commentator else []
        scored = self.scorer.scores([defused(_at_margin(s.code), words) + "\n" for s in snippets])
        return [self._remarks(snippet, scores) for snippet, scores in zip(snippets, scored, strict=True)]

    def comments(self, snippet: Snippet, quotes: Sequence[str]) -> list[str]:
        return self.commentator.on(snippet, quotes) if self.commentator else [SUSPICIOUS] * len(quotes)

    def _remarks(self, snippet: Snippet, scores: LineScores) -> list[Remark]:
        """On the likeliest lines; a text that occurs twice once."""
        lines, found = snippet.code.split("\n"), dict[str, Remark]()
        for number in scores.order()[:WORTH_A_COMMENT].tolist():
            score = _evidence(scores, number, self.scorer.threshold)
            if number > len(lines) or lines[number - 1] in found or score == -math.inf:
                continue
            quote = lines[number - 1]
            others = [k for k, line in enumerate(lines, 1) if line == quote and k != number]
            places = tuple(Place(k, k) for k in [number, *others])
            confidence = min(1.0, float(sum(scores.lines[p.start - 1] for p in places)))
            silent = self.commentator is not None and number not in scores.messages
            comment = "" if silent else plain_question(scores.message(number))
            remark = Remark(Finding(quote, comment), _in_file(places, snippet), confidence, score)
            found[quote] = replace(remark, suspicion=scores.kinds.get(number, ""))
        return sorted(found.values(), key=lambda remark: -remark.score)


def _evidence(scores: LineScores, line: int, threshold: float) -> float:
    """Nats by which a line, from 1, is beyond what is needed to report it; exactly the lines of ``scores.found`` are at
    0 or above."""
    alarm, p = 1 - scores.none, float(scores.lines[line - 1])
    if p <= 0:
        return -math.inf
    alarm_odds, needed = (logit(np.clip(q, 1e-12, 1 - 1e-12)) for q in (alarm, threshold))
    over = float(alarm_odds - needed)
    if alarm < threshold:  # by less than the logarithm shows
        over = min(over, -1e-9)
    within = math.log(2 * p / float(scores.lines.max()))
    return min(over, 0.0 if p >= scores.lines.max() / 2 and within < 0 else within)


def _at_margin(code: str) -> str:
    """The code with the first line at the left margin, as scorers have seen functions; lines keep their numbers."""
    margin = code[: len(code) - len(code.lstrip())].split("\n")[-1]
    return "\n".join(line.removeprefix(margin) for line in code.split("\n")) if margin else code


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
            return _of_halves(self, snippet)
        lines = np.zeros(snippet.code.count("\n") + 1)
        if self.scorer is not None and snippet.kind == "code":
            (scores,) = self.scorer.scores([_at_margin(snippet.code) + "\n"])
            lines = scores.lines[: len(lines)]
        search = self._searched(snippet, proposed_quotes(snippet.code, lines, self.config.rounds))
        chosen = search.chosen()
        remarks = []
        for places, (finding, *_) in _quoting_findings(chosen.critique.findings, snippet).items():
            if not lines.any():
                confidence = _share(search, places, snippet)
            else:
                confidence = float(sum(lines[n - 1] for p in places for n in range(p.start, p.end + 1)))
            comment = plain_question(finding.comment, self.words) or SUSPICIOUS
            shown = Finding(finding.quote, comment)
            # the modifier has chosen, so that nothing is left for the strictness to hide
            remarks.append(Remark(shown, _in_file(places, snippet), min(1.0, confidence), abs(self.config.modifier)))
        return sorted(remarks, key=_by_confidence)

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


def _share(search: Search, places: Places, snippet: Snippet) -> float:
    """Of the candidates, each weighted by the exponential of its reward, those that quote the place."""
    scores = np.array([c.score for c in search.candidates])
    weight = np.exp(scores - scores.max())
    quotes = [places in _quoting_findings(c.critique.findings, snippet) for c in search.candidates]
    return float(weight[np.array(quotes)].sum() / weight.sum())


# ---------------------------------------------------------------- quotes and places


def _quoting_findings(findings: Sequence[Finding], snippet: Snippet) -> dict[Places, list[Finding]]:
    """Places in the snippet -> the findings that quote it there; quotes that do not occur are left out."""
    found: dict[Places, list[Finding]] = {}
    for finding in findings:
        if places := tuple(Place(p.start, p.end) for p in locate(finding.quote, snippet.code)):
            found.setdefault(places, []).append(finding)
    return found


def _in_file(places: Sequence[Place], snippet: Snippet) -> Places:
    """Places in the snippet as places in its file."""
    return tuple(Place(p.start + snippet.first - 1, p.end + snippet.first - 1) for p in places)


def _of_halves(critic: Critic, snippet: Snippet) -> list[Remark]:
    """Of a snippet that is too long for a model."""
    return sorted((r for half in halves(snippet) for r in critic.review(half)), key=lambda r: -r.confidence)


def _by_confidence(remark: Remark) -> tuple[float, int]:
    return -remark.confidence, remark.places[0].start


def _quotable(snippet: Snippet) -> dict[str, list[int]]:
    """Texts that a quote can be -> the numbers, from 1, of their lines.

    Of an answer these are sentences; none goes beyond its line. Of code they are lines that can hold a bug: no comments,
    docstrings, decorators or lone brackets.
    """
    found, answer = dict[str, list[int]](), snippet.kind == "answer"
    inside = set() if answer else _docstring_lines(snippet.code)
    for number, line in enumerate(snippet.code.split("\n"), 1):
        silent = line.strip().startswith(("#", "@", '"""', "'''")) or line.strip() in EMPTY or number in inside
        texts = [match[0] for match in SENTENCE.finditer(line)] if answer else [line] * (not silent)
        for text in texts:
            if re.search(r"\w", text):
                found.setdefault(text, []).append(number)
    return found


def _docstring_lines(code: str) -> set[int]:
    tree = parsed_python(textwrap.dedent(code).split("\n"))
    if isinstance(tree, SyntaxError):
        return set()
    alone = (n for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
    return {line for n in alone for line in range(n.lineno, (n.end_lineno or n.lineno) + 1)}
