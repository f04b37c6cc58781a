"""The adversarial step: bugs that the present critic misses. What ``custodes critic select`` does.

A tamper is hard when at least one of a few critiques of it does not point the bug out (arXiv 2407.00215, section 2.1:
at least 1 of 3). Hard ones come first, and clean functions stay in their share. The same command again goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from custodes.critic.likelihood import LikelihoodScorer
from custodes.critic.lines import LineScorer, LineScores, ScoresLines
from custodes.critic.policies import question, rated
from custodes.critic.rows import open_scorer
from custodes.critic.tamper.examples import Example, read_examples, write_examples
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.lm import LanguageModel, TorchEngine, load
from custodes.ranges import Count, Range, ranged
from custodes.stats import Interval, rate
from custodes.types import InputError, Sampling, hash_shown

CHUNK = 16
"""Examples criticised between two writes: what an interruption costs at most."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticSelect:
    """Prefer bugs that a critic misses. The same command again goes on where it was interrupted."""

    data: Path
    """Examples that `custodes critic tamper` made."""
    out: Output
    """Those that were chosen, JSON Lines; summary beside it."""
    model: str = "smollm2-135m"
    """The critic: embedded, a local folder, a .gguf file or a hub id."""
    adapter: Path | None = None
    """Its adapter, for example the folder rl of `custodes critic tune`."""
    critic: str = ""
    """A scorer of lines in place of a critic that writes: folder of `custodes critic train`, or likelihood."""
    split: str = "train"
    """Which examples are looked at."""
    examples: int = 0
    """Look at the first so many tampered ones only; 0 looks at all."""
    keep: Annotated[float, Range(0, 1, open_low=True)] = 0.5
    """Share of the tampered examples to keep, the most often missed first."""
    samples: Count = 3
    """Critiques of each."""
    max_tokens: Count = 120
    """Longest critique."""
    seed: int = 0
    """Decides what the critic writes."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """An example and how many of the critiques missed its bug."""

    example: Example
    missed: int
    included: float  # mean share of the bugs that were pointed out


@command(resumes=True)
def critic_select(config: CriticSelect) -> dict[str, Any]:
    """Prefer bugs that a critic misses: the adversarial step.

    Write the chosen examples; returns the summary. Raises InputError where there is nothing to choose from.
    """
    examples = [e for e in read_examples(config.data) if e.split == config.split]
    tampered, clean = [e for e in examples if e.bugs], [e for e in examples if not e.bugs]
    tampered = tampered[: config.examples] if config.examples else tampered
    if not tampered:
        raise InputError(f"{config.data} has no tampered example of split {config.split!r}.")
    critic = open_scorer(config.critic, config.model) if config.critic else load(config.model, adapter=config.adapter)
    fingerprint = _fingerprint(critic)
    tried = _tried(config, critic, fingerprint, tampered)
    order = sorted(range(len(tried)), key=lambda i: (-tried[i].missed, i))
    kept = [tried[i] for i in order[: max(1, round(config.keep * len(tried)))]]
    beside = clean[: round(len(clean) * len(kept) / max(1, len(tampered)))]
    write_examples(config.out, [*(t.example for t in kept), *beside])
    told = {
        "critic": {
            "model": config.model,
            "adapter": str(config.adapter or ""),
            "scorer": config.critic,
            "fingerprint": fingerprint,
        },
        "tried": len(tried),
        "kept": len(kept),
        "clean": len(beside),
        "missed_at_least_once": rate([t.missed > 0 for t in tried], [t.example.function for t in tried]).to_dict(),
        "cbi_before": rate([t.included for t in tried], [t.example.function for t in tried]).to_dict(),
        "cbi_after": rate([t.included for t in kept], [t.example.function for t in kept]).to_dict(),
        "by_operator": {name: found.to_dict() for name, found in _by_operator(tried).items()},
    }
    save_json(config.out.with_name(config.out.name + ".summary.json"), told)
    return told


@in_words(critic_select)
def _show(options: CriticSelect, told: dict[str, Any]) -> None:
    missed, before, after = (
        Interval.from_dict(told[name]) for name in ("missed_at_least_once", "cbi_before", "cbi_after")
    )
    print(f"{told['kept']:,} of {told['tried']:,} tampered examples and {told['clean']:,} clean ones: {options.out}")
    print(f"  missed at least once: {missed}; bugs pointed out: {before} before, {after} in those kept")


def _fingerprint(critic: LanguageModel | ScoresLines) -> str:
    if isinstance(critic, LikelihoodScorer):
        return hash_shown("likelihood", critic.lm.fingerprint())
    assert isinstance(critic, LanguageModel | LineScorer)
    return critic.fingerprint()


def _tried(
    config: CriticSelect, critic: LanguageModel | ScoresLines, fingerprint: str, examples: list[Example]
) -> list[_Tried]:
    """Every example with what the critic made of it; what an earlier call found is read and not done again."""
    kept = {k: v for k, v in asdict(config).items() if k in ("samples", "max_tokens", "seed")}
    asked = {e.id: e for e in examples}
    with Parts.open(config.out, {**kept, "critic": fingerprint}) as parts:
        found = parts.answers(asked, lambda some: _criticised(config, critic, some), "criticising", CHUNK)
    return [_Tried(e, int(missed), included) for e, (missed, included) in zip(asked.values(), found, strict=True)]


def _criticised(
    config: CriticSelect, lm: LanguageModel | ScoresLines, examples: Sequence[Example]
) -> list[list[float]]:
    """[critiques that missed a bug, mean share of bugs pointed out] of each; code that does not fit counts as missed.

    A scorer of lines says the same each time: it points out the bugs that stand in as many likeliest lines as there are.
    """
    if not isinstance(lm, LanguageModel):
        scores = lm.scores([e.code for e in examples])
        shares = [_located(s, e) for s, e in zip(scores, examples, strict=True)]
        return [[float(config.samples * (share < 1)), share] for share in shares]
    room = lm.decoder.spec.context - config.max_tokens
    asked = [question(e) for e in examples]
    fits = [i for i, q in enumerate(asked) if len(lm.encode(q.task.messages)) <= room]
    sampling = Sampling(n=config.samples, max_tokens=config.max_tokens, seed=config.seed)
    drawn = TorchEngine(lm).generate([asked[i].task for i in fits], sampling)
    rows = [[float(config.samples), 0.0] for _ in examples]
    for k, i in enumerate(fits):
        critiques = drawn[k * config.samples : (k + 1) * config.samples]
        shares = [r.included / r.bugs for r in rated([asked[i]] * config.samples, critiques)]
        rows[i] = [float(sum(share < 1 for share in shares)), sum(shares) / len(shares)]
    return rows


def _located(scores: LineScores, e: Example) -> float:
    likeliest = set(scores.order()[: len(e.bugs)].tolist())
    return sum(bool(likeliest & set(bug.lines)) for bug in e.bugs) / len(e.bugs)


def _by_operator(tried: list[_Tried]) -> dict[str, Interval]:
    """Share of each operator's tampers that were missed at least once."""
    of: dict[str, list[_Tried]] = {}
    for t in tried:
        for name in {bug.operator for bug in t.example.bugs}:
            of.setdefault(name, []).append(t)
    return {
        name: rate([t.missed > 0 for t in some], [t.example.function for t in some])
        for name, some in sorted(of.items())
    }
