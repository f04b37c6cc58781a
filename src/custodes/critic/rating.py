"""Rating critiques where the truth is known: what a rule can say, and simulated raters who err in a stated way.

The six scales are those of arXiv 2407.00215 (section 2), 1 to 7, 4 is unsure: critique-bug inclusion (``cbi``),
``comprehensiveness``, ``nitpick``, ``hallucination``, ``conciseness``, ``overall``. The rules know the inserted bugs, and
that the rest of the function passes its tests: a finding elsewhere that claims an error is taken for a hallucination.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from custodes.critic.examples import Bug
from custodes.feedback.critique import Critique, Finding, locate
from custodes.feedback.kinds.rating import Rating
from custodes.types import Annotator, hash_shown

AXES = ("cbi", "comprehensiveness", "nitpick", "hallucination", "conciseness", "overall")
Kind = Literal["bug", "nearby", "nitpick", "hallucination", "misquote"]
CODE = re.compile(r"`([^`]+)`")
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|[<>=!+\-*/%&|^]+")

CONCEPTS = {
    "off by one": r"off[- ]by[- ]one|one (?:too|element|step|early|late|more|less|short)|boundary|border|\+ ?1|- ?1",
    "equality": r"equal|inclusive|exclusive|strict|exactly",
    "opposite": r"invert|negat|opposite|revers|wrong way|flip|backwards?|contrary|\bnot\b",
    "missing": r"missing|missed|dropped|omit|lost|removed|forgot|no longer|never|without|lacks?\b|not (?:handled|passed|called|updated)",
    "order": r"swap|order|exchanged|places|transpos",
    "wrong name": r"wrong (?:variable|attribute|name|key|text|value)|instead of|is meant|should be",
    "sign": r"operator|sign\b|minus|plus|subtract|add(?:s|ed|ing)?\b|multipl|divid|division",
    "element": r"index|element|slice|range|first|last",
    "default": r"default|fallback",
    "exception": r"exception|error|raise|caught|catch|except",
    "loop": r"loop|iterat|round|break|continue",
    "result": r"return|result|None\b",
    "call": r"method|function|call|argument|copy|convert",
    "condition": r"condition|check|guard|case|branch|filter|test\b|`and`|`or`",
    "start": r"start|initial|begin",
}
NITPICKS = {
    "naming": r"\bnam(?:e|es|ing|ed)\b.*(?:clear|descriptive|better|convention|confus)|rename|snake.?case|camel.?case",
    "documentation": r"docstring|comment|document|typo|spelling",
    "typing": r"type (?:hint|annotation)|annotat",
    "style": r"pep ?8|style|format|indent|whitespace|line length|readab|pythonic|idiomatic|magic number|simplif|refactor",
    "performance": r"performance|efficien|slow|faster|optimi[sz]",
    "robustness": r"(?:add|consider|should) .*(?:validat|logging|input check)|consider (?:adding|using)",
}


@dataclass(frozen=True, slots=True)
class RatedFinding:
    """``bug`` is the number of the bug that is pointed out; "nearby" means on its lines, but saying something else."""

    finding: Finding
    kind: Kind
    bug: int | None = None
    category: str = ""  # of a nitpick


@dataclass(frozen=True, slots=True)
class Rated:
    """A critique by the rules."""

    findings: tuple[RatedFinding, ...]
    bugs: int
    words: int

    @classmethod
    def of(cls, findings: Sequence[RatedFinding], bugs: int, opening: str = "") -> Rated:
        """Rated findings as a critique that begins with ``opening``; its words are counted."""
        words = len(opening.split()) + sum(len(f.finding.comment.split()) for f in findings)
        return cls(tuple(findings), bugs, words)

    @property
    def located(self) -> int:
        """Bugs on whose lines some finding stands."""
        return len({f.bug for f in self.findings if f.bug is not None})

    @property
    def included(self) -> int:
        """Bugs that are located and described."""
        return len({f.bug for f in self.findings if f.kind == "bug"})

    @property
    def hallucinations(self) -> int:
        return sum(f.kind in ("hallucination", "misquote") for f in self.findings)

    @property
    def nitpicks(self) -> int:
        return sum(f.kind == "nitpick" for f in self.findings)

    def scales(self) -> dict[str, float]:
        """The six scales, 1 to 7. ``overall`` weighs the first bug most, then what is false, then what is petty."""
        share = self.included / self.bugs if self.bugs else float(not self.hallucinations)
        cbi = 7.0 if self.included else 4.0 if self.located else 1.0
        brevity = 7.0 - 6.0 * min(1.0, max(0.0, (self.words - 30 * max(1, len(self.findings))) / 200))
        quality = (cbi if self.bugs else 1 + 6 * share) - 1.0 * self.hallucinations - 0.5 * self.nitpicks
        return {
            "cbi": cbi,
            "comprehensiveness": 1 + 6 * share,
            "nitpick": 7.0 if self.nitpicks else 1.0,
            "hallucination": 7.0 if self.hallucinations else 1.0,
            "conciseness": brevity,
            "overall": float(np.clip(quality, 1, 7)),
        }


def rate_critique(critique: Critique, code: str, bugs: Sequence[Bug]) -> Rated:
    """Every finding of a critique of ``code``, whose bugs are all known."""
    return Rated.of([_rated(finding, code, bugs) for finding in critique.findings], len(bugs), critique.opening)


def critique_of(rated: Rated) -> Critique:
    """The findings that were rated, as the critique that they were."""
    return Critique(tuple(f.finding for f in rated.findings))


def _rated(finding: Finding, code: str, bugs: Sequence[Bug]) -> RatedFinding:
    lines = {line for place in locate(finding.quote, code) for line in range(place.start, place.end + 1)}
    if not lines:
        return RatedFinding(finding, "misquote")
    here = [i for i, bug in enumerate(bugs) if lines & set(bug.lines)]
    said = [i for i in here if describes(finding.comment, bugs[i])]
    if said:
        return RatedFinding(finding, "bug", said[0])
    category = _nitpick(finding.comment)
    if here and not category:
        return RatedFinding(finding, "nearby", here[0])
    return RatedFinding(finding, "nitpick", category=category) if category else RatedFinding(finding, "hallucination")


def describes(comment: str, bug: Bug) -> bool:
    """Whether a comment says what the bug is: two ideas of its description, or one with a piece of its code."""
    ideas = _concepts(comment) & _concepts(bug.description)
    quoted = " ".join(CODE.findall(bug.description))
    tokens = {t for t in TOKEN.findall(f"{quoted} {bug.original}") if len(t) > 1 or not t.isalpha()}
    code = tokens - {"the", "if", "in", "="}
    named = code.intersection(TOKEN.findall(" ".join(CODE.findall(comment)) or comment))
    return len(ideas) >= 2 or bool(ideas and named)


def _concepts(text: str) -> set[str]:
    """Ideas of :data:`CONCEPTS` that a text speaks of."""
    return {name for name, pattern in CONCEPTS.items() if re.search(pattern, text, re.IGNORECASE)}


def _nitpick(comment: str) -> str:
    """The category of a comment about something petty; "" where it is about none."""
    found = (name for name, pattern in NITPICKS.items() if re.search(pattern, comment, re.IGNORECASE))
    return next(found, "")


# ---------------------------------------------------------------- simulated raters


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRater:
    """A rater who knows what the rules know and errs: the noise model is stated in its profile.

    On the scales that are yes or no (cbi, nitpick, hallucination) the answer is turned round with probability ``slip``
    (7 becomes 1). Then every scale gets normal noise of standard deviation ``spread`` and is rounded into 1 to 7.
    """

    id: str
    slip: float = 0.1
    spread: float = 0.7
    seed: int = 0

    @property
    def annotator(self) -> Annotator:
        model = "rules, yes-or-no scales turned round with probability slip, then normal noise of deviation spread"
        return Annotator(self.id, "simulated", {"slip": self.slip, "spread": self.spread, "noise_model": model})

    def ratings(self, task: str, episode: str, critique: str, rated: Rated) -> list[Rating]:
        """Six judgments of one critique; the same again for the same seed."""
        shown = hash_shown(task, critique)
        draw = np.random.default_rng([self.seed, int(hash_shown(self.id, shown)[:12], 16)])
        ratings = []
        for axis, value in rated.scales().items():
            slips = axis in ("cbi", "nitpick", "hallucination") and draw.random() < self.slip
            noisy = (8 - value if slips else value) + self.spread * draw.standard_normal()
            id, rounded = f"{self.id}-{episode}-{axis}", int(np.clip(np.rint(noisy), 1, 7))
            about = {"annotator": self.id, "task": task, "episodes": (episode,), "shown": shown}
            ratings.append(Rating(id=id, value=rounded, axis=axis, **about))  # type: ignore[arg-type]
        return ratings
