"""From the ledger alone to everything that the report says: one :class:`Audit`.

Nothing is read but the ledger. What it does not hold is None, and is named in ``Audit.missing``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from custodes.audit import schema, sections, words
from custodes.ledger import Ledger, Run
from custodes.ledger.checking import configured_head, holes_of
from custodes.stats import paired_difference
from custodes.types import Episode, InputError, Judgment

Section = dict[str, Any]
JUDGMENTS = tuple(kind.__name__.lower() for kind in get_args(Judgment))


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a run's ledger says, section by section of the report; :meth:`to_json` makes it plain JSON.

    ``headline`` has exactly the keys of :func:`headline`. ``claims`` are sentences in plain words. The
    sections "rewards", "optimisation", "gaming", "diversity" are keyed by arm.
    """

    headline: Section
    claims: list[str]
    loop: Section
    judges: Section | None
    rewards: dict[str, Section]
    optimisation: dict[str, Section]
    gaming: dict[str, Section]
    diversity: dict[str, Section]
    arms: Section | None
    resources: Section | None
    missing: list[str]
    provenance: Section

    def to_json(self) -> Section:
        return dict(schema.plain(self))


@dataclass
class Recorded:
    """A run's evaluation rows, by arm."""

    estimates: dict[str, schema.AnnotatorEstimate]
    agreement: schema.Agreement | None
    rewards: dict[str, schema.RewardHeldout]
    steps: dict[str, list[schema.PolicyStep]]
    heldout: dict[str, list[schema.PolicyHeldout]]
    best_of_n: dict[str, schema.BestOfN]
    checks: dict[str, schema.Checks]
    samples: dict[str, schema.Samples]
    resources: list[schema.Resources]
    episodes: dict[str, Episode] = field(default_factory=dict)  # those that rows name
    policies: set[str] = field(default_factory=set)  # versions that acted in any episode

    @property
    def arms(self) -> list[str]:
        """In the order in which they were written, the careful one first: it makes the headline."""
        names = dict.fromkeys([*self.heldout, *self.steps, *self.rewards, *self.best_of_n])
        return sorted(names, key=lambda name: name != "careful")


def collect(ledger: Ledger, run: str) -> Audit:
    """Audit the run with id ``run``. Raises InputError when the ledger has no such run."""
    known = {r.id: r for r in ledger.runs()}
    if run not in known:
        raise InputError(f"the ledger has no run {run!r}; it holds {sorted(known) or 'none'}.")
    recorded = read_recorded(ledger, run)
    judges = sections.judges_section(
        recorded.estimates, recorded.agreement, {a.id: a.kind for a in ledger.annotators(run)}
    )
    rewards = {
        arm: s
        for arm in recorded.arms
        if arm in recorded.rewards and (s := sections.reward_section(recorded.rewards[arm]))
    }
    found: dict[str, dict[str, Section]] = {"optimisation": {}, "gaming": {}, "diversity": {}}
    for arm in recorded.arms:
        for name, section in _arm_sections(recorded, arm).items():
            if section:
                found[name][arm] = section
    resources = _resources(recorded.resources, len(known[run].invocations))
    head = headline(recorded, judges, rewards, resources)
    arms = sections.arms_section({a: recorded.heldout[a] for a in recorded.arms if a in recorded.heldout})
    loop = _loop(ledger, run, len(recorded.policies))
    body: dict[str, Any] = {"judges": judges, "rewards": rewards, "arms": arms, "resources": resources, **found}
    provenance = _provenance(ledger, known[run], recorded.resources)
    return Audit(
        headline=head,
        claims=words.claims(head, body, recorded.arms),
        loop=loop,
        missing=[*words.missing(head, body, recorded.arms), *provenance["ledger"]["holes"]],
        provenance=provenance,
        **body,
    )


def headline(
    recorded: Recorded, judges: Section | None, rewards: Mapping[str, Section], resources: Section | None
) -> Section:
    """The numbers that scripts rely on, of the careful arm where there is one; None is "not recorded"."""
    head: Section = dict.fromkeys(
        (
            "gold_base",
            "gold_optimised",
            "gold_gain_interval",
            "reward_accuracy",
            "reward_accuracy_interval",
            "annotator_rank_correlation",
            "seconds",
            "peak_memory_gb",
        )
    )
    arm = next(iter(recorded.arms), "")
    rows = sorted(recorded.heldout.get(arm, []), key=lambda r: r.step)
    gold = sections.task_matrix([rows[0], sections.chosen_row(rows)], "gold") if len(rows) > 1 else None
    if gold is not None and gold.shape[1] > 1:
        gain = paired_difference(gold[1], gold[0])
        head |= {"gold_base": float(gold[0].mean()), "gold_optimised": float(gold[1].mean())}
        head["gold_gain_interval"] = [gain.low, gain.high]
    if arm in rewards:
        accuracy = rewards[arm]["accuracy"]
        head |= {"reward_accuracy": accuracy.estimate, "reward_accuracy_interval": [accuracy.low, accuracy.high]}
    if judges and judges["rank_correlation"]:
        head["annotator_rank_correlation"] = judges["rank_correlation"].estimate
    if resources:
        head |= {"seconds": resources["total"], "peak_memory_gb": resources["peak_memory_gb"]}
    return head


def read_recorded(ledger: Ledger, run: str) -> Recorded:
    """The run's evaluation rows, and the episodes that they name."""

    def rows(kind: type[schema.R]) -> list[tuple[str, schema.R]]:
        return schema.read_rows(kind, ledger.evaluations(run, kind.NAME))

    def by_arm(kind: type[schema.R]) -> dict[str, list[schema.R]]:
        found: dict[str, list[schema.R]] = {}
        for subject, row in rows(kind):
            found.setdefault(subject, []).append(row)
        return found

    agreement = rows(schema.Agreement)
    recorded = Recorded(
        estimates=dict(rows(schema.AnnotatorEstimate)),
        agreement=agreement[-1][1] if agreement else None,
        rewards=dict(rows(schema.RewardHeldout)),
        steps=by_arm(schema.PolicyStep),
        heldout=by_arm(schema.PolicyHeldout),
        best_of_n=dict(rows(schema.BestOfN)),
        checks=dict(rows(schema.Checks)),
        samples=dict(rows(schema.Samples)),
        resources=[row for _, row in rows(schema.Resources)],
    )
    named = {e for held in recorded.heldout.values() for row in held for e in row.episode}
    named |= {e for row in recorded.samples.values() for e in row.episode}
    for episode in ledger.episodes(run):
        recorded.policies.add(episode.policy)
        if episode.id in named:
            recorded.episodes[episode.id] = episode
    return recorded


def _arm_sections(recorded: Recorded, arm: str) -> dict[str, Section | None]:
    heldout, episodes = recorded.heldout.get(arm, []), recorded.episodes
    return {
        "optimisation": sections.optimisation_section(
            heldout, recorded.steps.get(arm, []), recorded.best_of_n.get(arm)
        ),
        "gaming": sections.gaming_section(heldout, recorded.checks.get(arm), episodes),
        "diversity": _diversity(recorded, arm),
    }


def _diversity(recorded: Recorded, arm: str) -> Section | None:
    """From the samples rows where they exist, otherwise from the held-out episodes."""
    heldout = sorted(recorded.heldout.get(arm, []), key=lambda r: r.step)
    base, last = recorded.samples.get("base"), recorded.samples.get(arm)
    if base is not None and last is not None:
        names = [base.episode, last.episode]
    elif len(heldout) > 1:
        names = [heldout[0].episode, sections.chosen_row(heldout).episode]
    else:
        names = [[], []]
    sides = [[recorded.episodes[e] for e in ids if e in recorded.episodes] for ids in names]
    texts = sections.diversity_section(*sides) or {}
    return (texts | (sections.sureness_section(heldout, recorded.episodes) or {})) or None


def _loop(ledger: Ledger, run: str, policies: int) -> Section:
    """What went round the loop, counted."""
    counts = ledger.summary(run)
    return {
        "tasks": counts.get("task", 0),
        "episodes": counts.get("episode", 0),
        "policies": policies,
        "judgments": {name: counts[name] for name in JUDGMENTS if name in counts},
        "annotators": dict(Counter(a.kind for a in ledger.annotators(run))),
        "models": [{"name": m.name, "kind": m.kind, "id": m.id, "parent": m.parent} for m in ledger.models(run)],
        "decisions": [{"what": d.what, "why": d.why, "subject": d.subject} for d in ledger.decisions(run)],
    }


def _resources(rows: Sequence[schema.Resources], invocations: int) -> Section | None:
    """Seconds and tokens of a run added up, whatever ended its invocations, and the largest of the peak memories."""
    if not rows:
        return None
    seconds: dict[str, float] = {}
    for row in rows:
        for phase, s in row.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + s
    memory = [r.peak_memory_gb for r in rows if r.peak_memory_gb is not None]
    sampled, trained = (
        [t for r in rows if (t := getattr(r, f)) is not None] for f in ("tokens_sampled", "tokens_trained")
    )
    return {
        "seconds": seconds,
        "total": sum(seconds.values()),
        "peak_memory_gb": max(memory, default=None),
        "cores": rows[-1].cores,
        "invocations": invocations,
        "tokens_sampled": sum(sampled) if sampled else None,
        "tokens_trained": sum(trained) if trained else None,
        "machine": rows[-1].machine,
    }


def _provenance(ledger: Ledger, run: Run, resources: Sequence[schema.Resources]) -> Section:
    """What the run was, on what, and whether its record still stands as it was written."""
    last = run.invocations[-1] if run.invocations else {}
    chain, (holes, taken), head = ledger.verify(), holes_of(ledger, run.id), configured_head(ledger)
    return {
        "run": run.id,
        "recipe": run.recipe,
        "seed": run.seed,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "config": dict(run.config),
        "command": next((r.command for r in reversed(resources) if r.command), None),
        "python": last.get("python"),
        "platform": last.get("platform"),
        "commit": last.get("commit"),
        "packages": dict(last.get("packages", {})),
        "invocations": len(run.invocations),
        "ledger": {
            "ok": chain.ok and not holes,
            "rows": chain.rows,
            "head": chain.head,
            "problem": chain.problem or (holes[0] if holes else None),
            "holes": holes,
            "taken": taken,
            "signed": asdict(head) if head.signature else None,
        },
    }
