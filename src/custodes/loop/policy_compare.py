"""Several policies on the same prompts at equal KL from one base model, each measured on its own replies.

A policy is a curve: the base model, the adapters that its run kept on the way (``snapshots``), and the policy that it handed
over. What it earns at a KL stands between two measured points, prompt by prompt.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from custodes.audit.heldout import gain_over_base
from custodes.audit.overoptimisation import best_of_n_kl, best_of_n_values, powers_of_two, root_kl, value_at
from custodes.audit.sections.optimisation import gain_chart
from custodes.environments import prompts_are_text, read_tasks
from custodes.files import plain_json
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.progress import Progress
from custodes.job.workspace import latest_runs
from custodes.ledger import Ledger
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, base_of, lasting_name, load, policy_within
from custodes.lm.precision import DtypeName
from custodes.loop.evaluation import kl_of
from custodes.loop.optimised_arm import SNAPSHOTS
from custodes.page import Report, Section, save_report
from custodes.policy.rollout import has_opinion
from custodes.ranges import Count, ranged
from custodes.reward.options import RewardOptions
from custodes.stats import Interval, mean_interval, paired_difference
from custodes.tables import warn
from custodes.types import Episode, InputError, Reward, Sampling, Task
from custodes.wording import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
@ranged
class PolicyCompare(RewardOptions):
    """Compare policies on the same prompts, each on its own replies, at equal KL from their base model."""

    policies: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR")]]
    """Folders of runs (policy optimise, policy tune, an arm of quickstart), of adapters or of models."""
    tasks: str
    """Prompts: a table (.jsonl, .json, .csv, .parquet) or a hub id, with a column prompt or messages. Its other columns reach
    reward functions by name."""
    at_kl: str = ""
    """Nats an episode at which to compare, e.g. 2,5; without: the largest that every policy reached."""
    prompt_column: str = ""
    """The column with the prompt, where it is not called prompt or messages."""
    system: str = ""
    """System message that opens every conversation."""
    base: str = ""
    """The base model, where a folder does not name it."""
    measure_on: Count = 96
    """Held-out prompts on which policies are measured, at most."""
    compare_best_of: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Measure the best of up to N replies of the base model too."""
    show: int = 3
    """So many are shown, the first of them."""
    out: Output | None = None
    """Folder for compare.json and the chart, compare.svg."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class CurvePoint:
    """A policy at one moment of its training."""

    name: str
    kl: Interval
    reward: Interval
    gain: Interval
    """Over the base model, paired by prompt."""


@dataclass(frozen=True)
class Curve:
    """One policy, from the base model on."""

    policy: str
    points: tuple[CurvePoint, ...]
    values: Floats  # (points, prompts) reward of each prompt
    replies: tuple[str, ...]  # to the prompts that are shown
    kl_is: str = "measured"

    @property
    def distance(self) -> Floats:
        """(points,) square root of the mean KL."""
        return root_kl([p.kl.estimate for p in self.points])

    def at(self, kl: float) -> Floats | None:
        """(prompts,) reward at so many nats, between two points; None where the policy did not get so far."""
        return value_at(self.distance, self.values, math.sqrt(kl)) if self.distance.max() >= math.sqrt(kl) else None


@dataclass(frozen=True)
class ComparedPolicies:
    """The table, the replies and the chart."""

    at_kl: tuple[float, ...]
    curves: tuple[Curve, ...]
    table: dict[str, dict[str, Any]]
    """Policy -> its last point, and at each KL its reward, its gain over the base model and the difference from the first
    policy that came so far."""
    shown: tuple[dict[str, Any], ...]
    """Prompts with their replies under every policy."""

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        names = dict.fromkeys(name for row in self.table.values() for name in row)
        at_each = [name for kl in self.at_kl for name in names if name.endswith(f" at KL {kl:g}")]
        return ["kl", "reward", "gain", *at_each]

    @property
    def labels(self) -> dict[str, str]:
        """Policy -> the name of its folder, where no other one has that name."""
        return _labels(list(self.table))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        curves = {c.policy: c.points for c in self.curves}
        whole = {"at_kl": self.at_kl, "table": self.table, "curves": curves, "shown": self.shown}
        return dict(plain_json(whole))


@command()
def policy_compare(config: PolicyCompare) -> ComparedPolicies:
    """Compare policies on the same prompts at equal KL, each on its own replies.

    Raises InputError for policies of different base models.
    """
    if not config.policies:
        raise InputError("no policies to compare; give their folders.")
    if twice := [policy for policy in config.policies if config.policies.count(policy) > 1]:
        raise InputError(f"{twice[0]} is named twice; name each policy once.")
    if config.sampling.n != 1 or config.sampling.narrowed:
        raise InputError(
            "policies are compared by one reply to each prompt, drawn as it is, by which their KL is known; "
            f"leave {config.sampling.narrowed or 'n'} out."
        )
    at_kl = _numbers(config.at_kl)
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
    base = _base(config)
    tasks = read_tasks(config.tasks, config.prompt_column, config.system)[: config.measure_on]
    if len(tasks) < 2:
        raise InputError(f"{config.tasks} holds {counted(len(tasks), 'prompt')}; give at least 2 to compare on.")
    reward = config.open_rewards(text=prompts_are_text(config.tasks, config.prompt_column), device=config.device)
    measured = _Measured(base, tasks, reward, config)
    curves = [measured.curve(policy) for policy in config.policies]
    if config.compare_best_of > 1:
        curves.append(measured.best_of_n(config.compare_best_of))
    at_kl = at_kl or (_rounded_down(min(float(c.distance.max()) for c in curves) ** 2),)
    done = ComparedPolicies(
        at_kl,
        tuple(curves),
        {c.policy: _row(c, curves, at_kl) for c in curves},
        measured.shown(curves),
    )
    if config.out is not None:
        page = Report(
            kind="Custodes comparison",
            title="Policies at equal KL",
            subtitle=f"{len(tasks):,} prompts of {config.tasks}",
            sections=[_EqualKl(done, "policies")],
            head=None,
        )
        save_report(page, config.out / "compare.html", (config.out / "compare.json", done.to_dict()))
    return done


@in_words(policy_compare)
def _show(config: PolicyCompare, done: ComparedPolicies) -> None:
    table = Table("policy", *done.columns, box=None)
    for policy, row in done.table.items():
        table.add_row(escape(done.labels[policy]), *(_cell(row, name) for name in done.columns))
    Console(width=max(100, 30 * (1 + len(done.columns)))).print(table)
    for shown in done.shown:
        print(f"\n{shown['prompt'][-1]['content']}")
        for policy, reply in shown["replies"].items():
            print(f"  {policy}: {' '.join(reply.split())}")
    if config.out is not None:
        print(f"\nTable and chart: {config.out / 'compare.html'}")


def _cell(row: dict[str, Any], name: str) -> str:
    if name == "kl" and row["kl_is"] != "measured":
        return f"at most {row[name].estimate:.3g}"
    return "" if name not in row else "not reached" if row[name] is None else str(row[name])


class _EqualKl(Section[ComparedPolicies]):
    """The table, the chart, and the same prompts under every policy."""

    title = "At equal KL from the base model, each on its own replies"
    template = """
<table class="wide-table">
  <thead><tr><th>Policy</th>{% for name in source.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
  {% for policy, row in source.table.items() %}<tr><th scope="row">{{ source.labels[policy] }}</th>{% for name in source.columns %}<td>{{ section.cell(row, name) }}</td>{% endfor %}</tr>{% endfor %}
</table>
{{ figure(charts.gained, "Reward gained over the base model on the same prompts. Dotted lines: where the policies are compared, by linear interpolation. The KL of a best-of-n is an upper bound.") }}
<h3>The same prompts under every policy</h3>
{% for shown in source.shown %}<h4>{{ shown.prompt[-1].content }}</h4>
<table class="kv">{% for policy, reply in shown.replies.items() %}<tr><th scope="row">{{ source.labels.get(policy, policy) }}</th><td>{{ reply }}</td></tr>{% endfor %}</table>{% endfor %}
"""
    cell = staticmethod(_cell)

    def charts(self) -> dict[str, str]:
        lines: dict[str, Any] = {
            self.source.labels[c.policy]: (
                [(float(d), p.gain) for d, p in zip(c.distance, c.points, strict=True)],
                None,
            )
            for c in self.source.curves
        }
        return {"gained": gain_chart("reward", lines, root_kl(self.source.at_kl).tolist())}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        numbers = (math.nan,)
    if not all(math.isfinite(x) and x > 0 for x in numbers):
        raise InputError(f"--at-kl {text!r}: write nats above 0, with commas between them, e.g. 2,5.")
    return tuple(dict.fromkeys(numbers))


def _rounded_down(kl: float) -> float:
    """To three digits, so that whoever came exactly so far has reached it."""
    digit = 10.0 ** (math.floor(math.log10(kl)) - 2) if kl > 0 else 1.0
    return float(f"{math.floor(kl / digit) * digit:.3g}")


def _labels(policies: Sequence[str]) -> dict[str, str]:
    short = [Path(policy).name for policy in policies]
    return dict(zip(policies, short if len(set(short)) == len(short) else policies, strict=True))


def _row(curve: Curve, curves: Sequence[Curve], at_kl: Sequence[float]) -> dict[str, Any]:
    """A policy's row. At each KL it is set against the first policy that came so far."""
    labels = _labels([c.policy for c in curves])
    last = curve.points[-1]
    row: dict[str, Any] = {"kl": last.kl, "kl_is": curve.kl_is, "reward": last.reward, "gain": last.gain}
    for kl in at_kl:
        here, first = curve.at(kl), next((c for c in curves if c.at(kl) is not None), None)
        row[f"reward at KL {kl:g}"] = None if here is None else mean_interval(here)
        row[f"gain at KL {kl:g}"] = None if here is None else paired_difference(here, curve.values[0])
        if first is not None and curve is not first:
            there = first.at(kl)
            row[f"minus {labels[first.policy]} at KL {kl:g}"] = None if here is None else paired_difference(here, there)  # type: ignore[arg-type]
    return row


def _base(config: PolicyCompare) -> LanguageModel:
    """The one base model of all policies."""
    names = {policy: _base_name(policy, config.base) for policy in config.policies}
    if len(set(names.values())) > 1:
        told = "; ".join(f"{policy} began from {name}" for policy, name in names.items())
        raise InputError(f"policies of different base models have no KL in common: {told}.")
    lm = load(next(iter(names.values())), dtype=config.dtype, device=config.device)
    return replace(lm, adapter=None)


def _base_name(policy: str, given: str) -> str:
    """The name of the model that a policy began from; the ``given`` one, where there is one, and a warning if it is another."""
    if not given:
        return _named_base(policy)
    with contextlib.suppress(InputError):  # it does not say
        if lasting_name(given) != (own := _named_base(policy)):
            warn([f"{policy} says that it began from {own}; it is measured as if it had begun from {given}."])
    return given


def _named_base(policy: str) -> str:
    """The name that holds from everywhere of the model that a policy says it began from."""
    folder = Path(policy_within(policy))
    if (folder / ADAPTER_CONFIG).is_file():
        return base_of(folder)
    if (folder / "adapter" / ADAPTER_CONFIG).is_file():  # an arm of quickstart
        return base_of(folder / "adapter")
    if (Path(policy) / "ledger.db").is_file():
        with Ledger.open(Path(policy) / "ledger.db", read_only=True) as ledger:
            if (runs := latest_runs(ledger)) and (name := runs[0].config.get("model")):
                return lasting_name(str(name))
    what = "does not say" if Path(policy).exists() else "is no folder here that says"
    raise InputError(f"{policy} {what} from which model it began; name that model with --base.")


class _Measured:
    """The prompts under each policy, scored; the base model's replies are drawn once."""

    def __init__(self, base: LanguageModel, tasks: Sequence[Task], reward: Reward, config: PolicyCompare) -> None:
        self.base, self.tasks, self.reward, self.config = base, tasks, reward, config
        self.engine = TorchEngine(base)
        self.before, self.first = self._scored(self.engine)

    def curve(self, policy: str) -> Curve:
        names, kls, values, replies = ["base"], [Interval(0.0, 0.0, 0.0, len(self.tasks))], [self.first], self.before
        with Progress() as progress:
            stages = _stages(policy)
            bar = progress.add_task(escape(f"measuring {policy}"), total=len(stages))
            for folder in stages:
                replies, scores = self._scored(TorchEngine(self._policy(folder)))
                names.append(folder.name)
                kls.append(mean_interval(kl_of(self.engine, replies, 1.0)))
                values.append(scores)
                progress.advance(bar)
        said, table = tuple(e.completion for e in replies[: self.config.show]), np.stack(values)
        return Curve(policy, _points(names, kls, table), table, said)

    def best_of_n(self, n: int) -> Curve:
        """The base model's replies, the best of n by the reward; its KL is at most log n - (n - 1) / n."""
        drawn = self.engine.generate(self.tasks, replace(self.config.sampling, n=n))
        proxy, counts = self.reward.score(drawn).total().reshape(-1, n), powers_of_two(n)
        values = best_of_n_values(proxy, proxy, counts)
        bounds = [Interval(kl, kl, kl, len(self.tasks)) for kl in map(best_of_n_kl, counts)]
        points = _points([f"best of {count}" for count in counts], bounds, values)
        said = tuple(drawn[i * n + int(proxy[i].argmax())].completion for i in range(min(self.config.show, len(proxy))))
        return Curve(f"best of {n}", points, values, said, kl_is="an upper bound")

    def shown(self, curves: Sequence[Curve]) -> tuple[dict[str, Any], ...]:
        """The first prompts, each with what every policy replies."""
        rows = []
        for i, episode in enumerate(self.before[: self.config.show]):
            replies = {"base": episode.completion} | {c.policy: c.replies[i] for c in curves}
            rows.append({"prompt": [m.to_dict() for m in episode.task.messages], "replies": replies})
        return tuple(rows)

    def _scored(self, engine: TorchEngine) -> tuple[list[Episode], Floats]:
        episodes = engine.generate(self.tasks, self.config.sampling)
        scores = self.reward.score(episodes)
        if not (judged := has_opinion(scores)).all():
            silent = episodes[int(np.flatnonzero(~judged)[0])]
            raise InputError(
                f"the reward has no opinion on {int((~judged).sum())} replies, the first to task {silent.task.id}; "
                "compare on prompts that it judges."
            )
        return episodes, scores.total()

    def _policy(self, folder: Path) -> LanguageModel:
        if (folder / ADAPTER_CONFIG).is_file():
            return replace(self.base, adapter=Adapter.load(folder, self.base.decoder))
        return load(folder, dtype=self.config.dtype, device=self.config.device)


def _points(names: Sequence[str], kls: Sequence[Interval], values: Floats) -> tuple[CurvePoint, ...]:
    """The points of a curve from the rewards (points, prompts), of at least two prompts, at each."""
    points = []
    for i, (name, kl) in enumerate(zip(names, kls, strict=True)):
        gain = gain_over_base(values, i)
        assert gain is not None
        points.append(CurvePoint(name, kl, mean_interval(values[i]), gain))
    return tuple(points)


def _stages(policy: str) -> list[Path]:
    """The folders of a policy's snapshots, in order, and of the policy that was handed over."""
    folder = Path(policy)
    kept = [
        p
        for root in (folder / "optimisation", folder / "tuning", folder)
        for p in sorted((root / SNAPSHOTS).glob("step-*"))
    ]
    last = folder / "adapter" if (folder / "adapter" / ADAPTER_CONFIG).is_file() else Path(policy_within(policy))
    return [*kept, last]
