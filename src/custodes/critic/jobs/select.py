"""The adversarial step: bugs that the present critic misses. What ``custodes critic select`` does.

A tamper is hard when at least one of a few critiques of it does not point the bug out (arXiv 2407.00215, section 2.1:
at least 1 of 3). Hard ones come first, and clean functions stay in their share. The same command again goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from custodes.critic.examples import TRAIN, BugExample, BugRows, read_bug_examples, write_json_lines
from custodes.critic.lines import LINE_SETTINGS, ScoresLines
from custodes.critic.loading import find_writer
from custodes.critic.policies import rated, review_question
from custodes.critic.scoring import open_scorer
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.ranges import Count, Range, ranged
from custodes.stats import Interval, rate
from custodes.types import InputError, Sampling

CHUNK = 16
"""Examples criticised between two writes: what an interruption costs at most."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticSelect(BugRows):
    """Prefer bugs that a critic misses. The same command again goes on where it was interrupted."""

    out: Output
    """Those that were chosen, JSON Lines; summary beside it."""
    model: str = "smollm2-135m"
    """The critic: embedded, a local folder, a .gguf file or a hub id."""
    adapter: Path | None = None
    """Folder of a saved adapter."""
    critic: str = ""
    """In place of model and adapter: the folder of `custodes critic train` or `custodes critic tune`, shipped, likelihood,
    or FILE.py:Name. A scorer of lines counts as a critic that says the same each time."""
    split: str = TRAIN
    """Only rows of this split, for example "held-out packages"; all where empty."""
    examples: int = 0
    """Take so many rows with bugs only, beside the clean ones; 0 takes all."""
    keep: Annotated[float, Range(0, 1, open_low=True)] = 0.5
    """Share of the tampered examples to keep, the most often missed first."""
    samples: Count = 3
    """Critiques of each piece of code or answer, where critiques are drawn."""
    max_tokens: Count = 120
    """Longest critique."""
    seed: int = 0
    """Decides what the critic writes."""


@command(resumes=True)
def critic_select(config: CriticSelect) -> dict[str, Any]:
    """Prefer bugs that a critic misses: the adversarial step.

    Write the chosen examples; returns the summary. Raises InputError where there is nothing to choose from.
    """
    examples = [e for e in read_bug_examples(config.data, described=True) if config.split in ("", e.split)]
    tampered, clean = [e for e in examples if e.bugs], [e for e in examples if not e.bugs]
    tampered = tampered[: config.examples] if config.examples else tampered
    if not tampered:
        raise InputError(f"{config.data} has no tampered example of split {config.split!r}.")
    critic = _open(config)
    fingerprint = critic.fingerprint()
    decides = {name: getattr(config, name) for name in ("samples", "max_tokens", "seed")} | {"critic": fingerprint}
    asked = {e.id: e for e in tampered}
    with Parts.open(config.out, decides) as parts:
        found = parts.answers(asked, lambda some: _criticised(config, critic, some), "criticising", CHUNK)
    tampered = list(asked.values())
    missed, included = np.array(found, float).reshape(-1, 2).T  # critiques that missed a bug; share of bugs pointed out
    kept = np.argsort(-missed, kind="stable")[: max(1, round(config.keep * len(tampered)))]
    beside = clean[: round(len(clean) * len(kept) / len(tampered))]
    write_json_lines(config.out, [*(tampered[i] for i in kept), *beside])
    functions = np.array([e.function for e in tampered], object)

    def share(values: NDArray[Any], of: NDArray[np.intp] | slice = slice(None)) -> dict[str, Any]:
        return rate(values[of], functions[of].tolist()).to_dict()

    operators = sorted({bug.operator for e in tampered for bug in e.bugs})
    by_operator = {n: np.flatnonzero([any(b.operator == n for b in e.bugs) for e in tampered]) for n in operators}
    told = {
        "critic": {
            "model": config.model,
            "adapter": str(config.adapter or ""),
            "scorer": config.critic,
            "fingerprint": fingerprint,
        },
        "tried": len(tampered),
        "kept": len(kept),
        "clean": len(beside),
        "missed_at_least_once": share(missed > 0),
        "cbi_before": share(included),
        "cbi_after": share(included, kept),
        "by_operator": {name: share(missed > 0, of) for name, of in by_operator.items()},
    }
    save_json(config.out.with_name(config.out.name + ".summary.json"), told)
    return told


@in_words(critic_select)
def _show(options: CriticSelect, told: dict[str, Any]) -> None:
    shares = (told[name] for name in ("missed_at_least_once", "cbi_before", "cbi_after"))
    missed, before, after = map(Interval.from_dict, shares)
    print(f"{told['kept']:,} of {told['tried']:,} tampered examples and {told['clean']:,} clean ones: {options.out}")
    print(f"  missed at least once: {missed}; bugs pointed out: {before} before, {after} in those kept")


def _open(config: CriticSelect) -> LanguageModel | ScoresLines:
    if not config.critic:
        return load(config.model, adapter=config.adapter)
    writer = None if (Path(config.critic) / LINE_SETTINGS).is_file() else find_writer(Path(config.critic))
    return writer or open_scorer(config.critic, config.model)


def _criticised(
    config: CriticSelect, critic: LanguageModel | ScoresLines, examples: Sequence[BugExample]
) -> list[list[float]]:
    """[critiques that missed a bug, mean share of bugs pointed out] of each; code that does not fit counts as missed.

    A scorer of lines says the same each time: it points out the bugs that stand in as many likeliest lines as there are.
    """
    rows = [[float(config.samples), 0.0] for _ in examples]
    if not isinstance(critic, LanguageModel):
        for row, e, scores in zip(rows, examples, critic.scores([e.code for e in examples]), strict=True):
            likeliest = set(scores.order()[: len(e.bugs)].tolist())
            share = sum(bool(likeliest & set(bug.lines)) for bug in e.bugs) / len(e.bugs)
            row[:] = float(config.samples * (share < 1)), share
        return rows
    room = critic.decoder.spec.context - config.max_tokens
    asked = [review_question(e) for e in examples]
    fits = [i for i, q in enumerate(asked) if len(critic.encode(q.task.messages)) <= room]
    sampling = Sampling(n=config.samples, max_tokens=config.max_tokens, seed=config.seed)
    drawn = TorchEngine(critic).generate([asked[i].task for i in fits], sampling)
    for k, i in enumerate(fits):
        critiques = drawn[k * config.samples : (k + 1) * config.samples]
        shares = [r.included / r.bugs for r in rated([asked[i]] * config.samples, critiques)]
        rows[i] = [float(sum(share < 1 for share in shares)), sum(shares) / len(shares)]
    return rows
