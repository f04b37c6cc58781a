"""The sections of the report, each computed from evaluation rows alone.

Every function takes rows of :mod:`custodes.audit.schema` and returns plain dicts of numbers and
:class:`~custodes.stats.Interval`, or None where the rows do not hold what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.audit import annotators, calibration, diversity, hacking, overoptimisation
from custodes.audit.schema import (
    Agreement,
    AnnotatorEstimate,
    BestOfN,
    Checks,
    PolicyHeldout,
    PolicyStep,
    RewardHeldout,
)
from custodes.stats import (
    Interval,
    calibration_curve,
    calibration_error,
    mean_interval,
    paired_difference,
    rate,
    wilson,
)
from custodes.types import Episode

Section = dict[str, Any]
Array = NDArray[np.float64]
EXAMPLES = 4


# ---------------------------------------------------------------- the judges and the reward


def judges_section(
    estimates: Mapping[str, AnnotatorEstimate], agreement: Agreement | None, kinds: Mapping[str, str]
) -> Section | None:
    """Everyone who judged, least reliable first, and how well the estimates match what is known."""
    if not estimates:
        return None
    found = annotators.judges(estimates, kinds)
    repeats = sum(e.repeats for e in estimates.values())
    return {
        "judges": [_fields(j) | {"suspect": j.suspect} for j in found],
        "simulated": sum(j.kind == "simulated" for j in found),
        "suspects": sum(j.suspect for j in found),
        "rank_correlation": annotators.truth_correlation(found),
        "detection": (d := annotators.detection(found)) and _fields(d),
        "alpha": agreement and _alpha(agreement),
        "repeat": wilson(sum(e.repeats_same for e in estimates.values()), repeats) if repeats else None,
    }


def _alpha(row: Agreement) -> Interval:
    low = -np.inf if row.alpha_low is None else row.alpha_low
    return Interval(row.alpha, low, np.inf if row.alpha_high is None else row.alpha_high, row.items)


def reward_section(row: RewardHeldout) -> Section | None:
    """How far the reward can be believed, on held-out judged pairs."""
    if not row.n:
        return None
    right = calibration.agrees(row.margin, 2 * np.asarray(row.outcome) - 1)
    stated = {name: calibration.confidence(row.margin, t) for name, t in (("before", 1.0), ("after", row.temperature))}
    return {
        "accuracy": rate(right, row.task),
        "gold_accuracy": _gold_accuracy(row),
        "temperature": row.temperature,
        **{f"ece_{name}": calibration_error(p, right, calibration.BINS, row.task) for name, p in stated.items()},
        **{f"diagram_{name}": calibration_curve(p, right, calibration.BINS) for name, p in stated.items()},
        "length": (a := hacking.length_audit(row.margin, row.outcome, row.length_difference, row.task)) and _fields(a),
        "spread": _spread(row, right),
        "members": row.members,
        "model": row.model or None,
    }


def _gold_accuracy(row: RewardHeldout) -> Interval | None:
    """Share of pairs whose gold differs in which the reward prefers the truly better one."""
    if row.gold_difference is None:
        return None
    gold, margin = np.asarray(row.gold_difference), np.asarray(row.margin)
    known = gold != 0
    if not known.any():
        return None
    right = calibration.agrees(margin[known], gold[known])
    return rate(right, None if row.task is None else np.asarray(row.task)[known].tolist())


def _spread(row: RewardHeldout, right: Array) -> Section | None:
    """Ensemble disagreement on the pairs that the reward got right, and wrong: it should be larger on the wrong."""
    if row.spread is None or row.members < 2:
        return None
    spread = np.asarray(row.spread, float)
    task = np.asarray(row.task if row.task is not None else range(row.n))
    groups = {"all": right >= 0, "right": right == 1, "wrong": right == 0}
    return {
        name: mean_interval(spread[of], task[of].tolist()) if name == "all" or of.sum() > 1 else None
        for name, of in groups.items()
    }


# ---------------------------------------------------------------- optimisation


def optimisation_section(
    heldout: Sequence[PolicyHeldout], steps: Sequence[PolicyStep], best_of_n: BestOfN | None
) -> Section | None:
    """One arm along training: gains over the base policy on the held-out tasks against sqrt(KL)."""
    rows = sorted(heldout, key=lambda r: r.step)
    section: Section = {"steps": [s.metrics() for s in sorted(steps, key=lambda s: s.step)]}
    if rows:
        section |= _curve(rows)
    if best_of_n is not None and best_of_n.n:
        section["best_of_n"] = _best_of_n(best_of_n)
    return section if rows or steps or best_of_n else None


def _curve(rows: Sequence[PolicyHeldout]) -> Section:
    proxy, gold = task_matrix(rows, "proxy"), task_matrix(rows, "gold")
    kl = [mean_interval(np.asarray(r.kl)) for r in rows]
    d = np.sqrt(np.maximum([k.estimate for k in kl], 0))  # the k1 estimate of a KL near 0 may be negative
    fits = {
        name: overoptimisation.fit_gao(d[1:], values[1:] - values[0], "rl")  # the base gains 0 by definition
        for name, values in (("proxy", proxy), ("gold", gold))
        if values is not None
    }
    return {
        "points": [
            {
                "step": r.step,
                "kl": kl[i],
                "sqrt_kl": float(d[i]),
                "proxy": _gain(proxy, i),
                "gold": _gain(gold, i),
                "gold_level": mean_interval(gold[i]) if gold is not None else None,
                "length": _mean(r.length),
                "entropy": _mean(r.entropy),
                "proxy_std": _mean(r.proxy_std),
                "chosen": r is chosen_row(rows),
                "tasks": len(_tasks(rows)),
            }
            for i, r in enumerate(rows)
        ],
        "fit": fits,
        "advice": overoptimisation.early_stop(fits["gold"], float(d.max())) if "gold" in fits else None,
    }


def _best_of_n(row: BestOfN) -> Section:
    counts = overoptimisation.powers_of_two(len(row.proxy[0]))
    d = np.sqrt([overoptimisation.best_of_n_kl(n) for n in counts])
    values = {"proxy": overoptimisation.best_of_n_values(row.proxy, row.proxy, counts)}
    if row.gold is not None:
        values["gold"] = overoptimisation.best_of_n_values(row.proxy, row.gold, counts)
    fits = {name: overoptimisation.fit_gao(d[1:], v[1:] - v[0], "best_of_n") for name, v in values.items()}
    return {
        "tasks": row.n,
        "points": [
            {"n": n, "kl": float(d[i] ** 2), "sqrt_kl": float(d[i])}
            | {name: _gain(values.get(name), i) for name in ("proxy", "gold")}
            for i, n in enumerate(counts)
        ],
        "fit": fits,
    }


def arms_section(heldout: Mapping[str, Sequence[PolicyHeldout]]) -> Section | None:
    """Arms at the largest sqrt(KL) that all of them reached: gold by interpolation, differences paired by task,
    of the first arm from the others."""
    curves = {}
    for arm, rows in heldout.items():
        rows = sorted(rows, key=lambda r: r.step)
        gold = task_matrix(rows, "gold") if len(rows) > 1 else None
        if gold is not None:
            d = np.sqrt(np.maximum([np.mean(r.kl) for r in rows], 0))
            curves[arm] = dict(zip(_tasks(rows), gold.T, strict=True)), d
    if len(curves) < 2:
        return None
    at = min(float(d.max()) for _, d in curves.values())
    shared = sorted(set.intersection(*(set(by_task) for by_task, _ in curves.values())))
    if len(shared) < 2:
        return None
    values = {
        arm: overoptimisation.value_at(d, np.stack([t[k] for k in shared], 1), at) for arm, (t, d) in curves.items()
    }
    first = next(iter(values))
    return {
        "sqrt_kl": at,
        "gold": {arm: mean_interval(v) for arm, v in values.items()},
        "first": first,
        "difference": {arm: paired_difference(values[first], v) for arm, v in values.items() if arm != first},
    }


# ---------------------------------------------------------------- what was gamed


def gaming_section(
    heldout: Sequence[PolicyHeldout], checks: Checks | None, episodes: Mapping[str, Episode]
) -> Section | None:
    """What the reward paid for and the truth did not, base policy against the chosen one."""
    section: Section = {}
    if checks is not None and checks.n:
        changes = hacking.check_changes(checks.check, checks.base, checks.optimised)
        section["checks"] = [_fields(c) | {"change": c.change} for c in changes]
    if len(heldout) > 1:
        rows = sorted(heldout, key=lambda r: r.step)
        base, last = rows[0], chosen_row(rows)
        proxy, gold = task_matrix([base, last], "proxy"), task_matrix([base, last], "gold")
        if proxy is not None and gold is not None and proxy.shape[1] > 1:
            up_down = (proxy[1] > proxy[0]) & (gold[1] < gold[0])
            section["gap"] = (g := hacking.proxy_gold_gap(proxy[1], gold[1], proxy[0], gold[0])) and _fields(g)
            section["tasks_gamed"] = wilson(int(up_down.sum()), len(up_down))
            section["examples"] = _examples(base, last, episodes)
    return section or None


def _examples(base: PolicyHeldout, last: PolicyHeldout, episodes: Mapping[str, Episode]) -> list[Section]:
    """The tasks whose first episodes moved most apart, with their texts."""
    before, after = _first(base), _first(last)
    tasks = [
        t for t in before if t in after and base.episode[before[t]] in episodes and last.episode[after[t]] in episodes
    ]
    if base.gold is None or last.gold is None or not tasks:
        return []
    gains = [
        np.array([new[after[t]] - old[before[t]] for t in tasks])
        for old, new in ((base.proxy, last.proxy), (base.gold, last.gold))
    ]
    found = []
    for i in hacking.gamed_order(*gains)[:EXAMPLES]:
        b, a = before[tasks[i]], after[tasks[i]]
        old, new = episodes[base.episode[b]], episodes[last.episode[a]]
        found.append(
            {
                "task": tasks[i],
                "prompt": [m.to_dict() for m in old.task.messages],
                "base": {"text": old.completion, "proxy": base.proxy[b], "gold": base.gold[b]},
                "optimised": {"text": new.completion, "proxy": last.proxy[a], "gold": last.gold[a]},
            }
        )
    return found


# ---------------------------------------------------------------- diversity


def diversity_section(base: Sequence[Episode], optimised: Sequence[Episode]) -> Section | None:
    """Base against optimised texts on the same tasks; every row is {"base", "optimised", "difference"}.

    None without tasks in common. Differences are paired by task (within) or by block of tasks (across).
    """
    before, after = _groups(base), _groups(optimised)
    shared = sorted(before.keys() & after.keys())
    if len(shared) < 2:
        return None
    old, new = [before[t] for t in shared], [after[t] for t in shared]
    texts = [text for group in old + new for text in group]
    vocabulary = {n: size for n in diversity.NGRAMS if (size := diversity.ngram_vocabulary(texts, n))}
    repeated = [[float(np.mean([diversity.repetition(t) for t in group])) for group in side] for side in (old, new)]
    section: Section = {"repetition": _paired(*repeated)}
    several = [(b, a) for b, a in zip(old, new, strict=True) if len(b) > 1 and len(a) > 1]
    for name, sides in (
        ("within", tuple(zip(*several, strict=True)) if several else ((), ())),
        ("across", (diversity.across(old), diversity.across(new))),
    ):
        if len(sides[0]) > 1:
            section[f"{name}_distinct"] = _paired(*(diversity.distinct(s, vocabulary) for s in sides))
            section[f"{name}_distance"] = _paired(*(diversity.distance(s) for s in sides))
    return {name: row for name, row in section.items() if row} or None


def sureness_section(heldout: Sequence[PolicyHeldout], episodes: Mapping[str, Episode]) -> Section | None:
    """Entropy and length, and the calibration of the policy's own probabilities: does it answer well what it is
    sure of? ``calibration_error`` compares an episode's geometric mean token probability with its gold."""
    if len(heldout) < 2:
        return None
    rows = sorted(heldout, key=lambda r: r.step)
    pair = [rows[0], chosen_row(rows)]
    section: Section = {}
    for name in ("entropy", "length"):
        values = task_matrix(pair, name)
        if values is not None:
            section[name] = _paired(*values)
    known = [
        [(e, g) for e, g in zip(r.episode, r.gold or [], strict=False) if e in episodes and episodes[e].actions]
        for r in pair
    ]
    if all(len(k) > 1 for k in known):
        for name, side in zip(("base", "optimised"), known, strict=True):
            sure = calibration.policy_confidence([episodes[e].logprobs[episodes[e].action_mask] for e, _ in side])
            gold = np.array([g for _, g in side])
            section.setdefault("calibration_error", {})[name] = calibration_error(sure, gold, calibration.BINS)
            section.setdefault("confidence", {})[name] = mean_interval(sure)
    return section or None


# ---------------------------------------------------------------- aligned observations


def chosen_row(rows: Sequence[PolicyHeldout]) -> PolicyHeldout:
    """The policy that the run hands over: the last one marked as chosen, otherwise the last."""
    ordered = sorted(rows, key=lambda r: r.step)
    return next((r for r in reversed(ordered) if r.chosen), ordered[-1])


def task_matrix(rows: Sequence[PolicyHeldout], name: str) -> Array | None:
    """(rows, tasks): the mean of field ``name`` over each task's episodes, on the tasks that all rows share.

    None where a row lacks the field or no task is shared. Columns are in the order of :func:`_tasks`.
    """
    tasks = _tasks(rows)
    if not tasks or any(getattr(r, name) is None for r in rows):
        return None
    out = np.empty((len(rows), len(tasks)))
    for i, row in enumerate(rows):
        names, index = np.unique(row.task, return_inverse=True)
        means = np.bincount(index, np.asarray(getattr(row, name), float)) / np.bincount(index)
        place = {task: j for j, task in enumerate(names.tolist())}
        out[i] = means[[place[t] for t in tasks]]
    return out


def _tasks(rows: Sequence[PolicyHeldout]) -> list[str]:
    return sorted(set.intersection(*(set(r.task) for r in rows)))


def _first(row: PolicyHeldout) -> dict[str, int]:
    """Index of each task's first episode."""
    return {task: i for i, task in reversed(list(enumerate(row.task)))}


def _groups(episodes: Sequence[Episode]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for e in episodes:
        groups.setdefault(e.task.id, []).append(e.completion)
    return groups


def _gain(values: Array | None, i: int) -> Interval | None:
    """Paired gain of point i over point 0; exactly 0 for point 0 itself."""
    if values is None or values.shape[1] < 2:
        return None
    return paired_difference(values[i], values[0]) if i else Interval(0.0, 0.0, 0.0, values.shape[1])


def _fields(found: object) -> Section:
    """A dataclass as a dict whose values stay what they are (``asdict`` would take intervals apart)."""
    return dict(vars(found))


def _mean(values: Sequence[float] | None) -> Interval | None:
    return mean_interval(np.asarray(values, float)) if values is not None and len(values) > 1 else None


def _paired(base: Sequence[float] | Array, optimised: Sequence[float] | Array) -> Section | None:
    """Over the items where both are defined (a text without words has no n-grams); None where fewer than two are."""
    b, o = np.asarray(base, float), np.asarray(optimised, float)
    both = np.isfinite(b) & np.isfinite(o)
    b, o = b[both], o[both]
    if len(b) < 2:
        return None
    return {"base": mean_interval(b), "optimised": mean_interval(o), "difference": paired_difference(o, b)}
