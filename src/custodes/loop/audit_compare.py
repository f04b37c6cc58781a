"""Any two or more models, asked the same by probes: what ``custodes audit compare`` does.

Replies are drawn once for each model and task, and shared by all probes that read some. The first model comes last, so that it
is at hand when the KL of the others from it is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from custodes.audit.choice import BARE, BRACKETED
from custodes.audit.compared import ComparedModel, ComparedModels, ModelsSection, ProbeFound, ProbeSection
from custodes.audit.probe import ModelProbed, NoItems, Probe, ProbeColumns, ProbeSetting
from custodes.environments import GoldReward, instruction_tasks, prompts_are_text, read_tasks
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Model
from custodes.ledger.checking import configured_head
from custodes.lm import TorchEngine
from custodes.lm.address import ENDPOINT, open_endpoint, open_engine
from custodes.lm.given import CannotTell
from custodes.lm.loading import check_model, lasting_name
from custodes.lm.precision import DtypeName
from custodes.loop.model_history import history_of, tokenizer_hash
from custodes.page import Report, save_report
from custodes.ranges import Range, ranged
from custodes.registry import OptionsOf, probe
from custodes.reward.options import RewardOptions
from custodes.stats import mean_interval
from custodes.types import Engine, Episode, InputError, Reward, Sampling, Task

CHUNK_ITEMS = 32
"""Items asked between two writes to the ledger: what an interruption costs at most."""
CHUNK_REPLIES = 128
"""Replies whose KL is measured between two writes."""


def probes_asked(asked: str) -> list[type[Probe]]:
    """The probes that ``--probes`` names: their options are options of the command."""
    names = probe.names() if asked == "all" else [name.strip() for name in asked.split(",") if name.strip()]
    return [probe.find(name) for name in names]


@dataclass(frozen=True, kw_only=True)
@ranged
class AuditCompare:
    """Compare two or more models by probes: diversity, leanings and more. Run again with the same options, it goes on."""

    models: tuple[str, ...]
    """NAME=MODEL of two or more: embedded, a folder (of a run or an adapter too), a .gguf file, a hub id, or
    endpoint:URL#MODEL. The others are compared with the first."""
    out: Output
    """Folder for report.html, report.json and the ledger."""
    probes: str = "all"
    """all, or some of them with commas between: diversity,entropy,political. One of your own is FILE.py:Name. A probe's own
    options join these."""
    probe_options: Annotated[Mapping[str, Any], OptionsOf(probe, "probes", probes_asked)] = field(default_factory=dict)
    """Own options of the probes."""
    data: Annotated[Path | None, Use.APART] = None
    """Folder in which probes find the files that they read, where those are not given."""
    items: Annotated[int, Range(2, 300)] = 300
    """Items of each probe, at most."""
    tasks: str = ""
    """Prompts to draw replies to: a table (.jsonl, .json, .csv, .parquet) or a hub id. Without: built-in instructions, which
    code can check."""
    prompt_column: str = ""
    """The column with the prompt, where it is not called prompt or messages."""
    system: str = ""
    """System message that opens every conversation."""
    check: str = ""
    """Python function FILE.py:NAME, or a built-in one, that gives 1 to a reply that does what was asked, else less."""
    measure_on: Annotated[int, Range(2)] = 96
    """Prompts to which replies are drawn, at most."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    sampling: Sampling = field(default_factory=lambda: Sampling(n=8, max_tokens=64))

    def __post_init__(self) -> None:
        if (self.sampling.temperature, self.sampling.top_p, self.sampling.top_k) != (1.0, 1.0, 0):
            raise InputError("models are compared by replies at temperature 1, without top-k and top-p: what they are.")
        self.named()

    def named(self) -> dict[str, str]:
        """Name -> model. Raises InputError for fewer than two, and for a name that comes twice."""
        named: dict[str, str] = {}
        for word in self.models:
            name, equals, model = word.partition("=")
            if not equals:
                name, model = Path(word).name, word
            if not name or not model or name in named:
                what = "comes twice" if name in named else "names no model"
                raise InputError(f"--models: {word!r} {what}; write NAME=MODEL, each name once.")
            named[name] = model
        if len(named) < 2:
            raise InputError(f"--models names {len(named)} model; give two or more, as in base=smollm2-135m tuned=DIR.")
        return named


@command(resumes=True)
def audit_compare(config: AuditCompare) -> ComparedModels:
    """Compare two or more models by what probes find of them.

    Raises InputError for models that cannot be opened, and for probes and files that are wrong.
    """
    models = {name: lasting_name(model) for name, model in config.named().items()}
    for model in models.values():
        if not model.startswith(ENDPOINT):
            check_model(model)
    probes = _probes(config)
    items, not_asked = _items(config, probes)
    tasks, check = _tasks(config)
    seen = {
        "the prompts": _hash([task.id for task in tasks]),
        "items": {name: _hash(own) for name, own in items.items()},
    }
    with Workspace.open(config.out, "audit compare", config, config.sampling.seed, contents=seen) as work:
        compared = _Comparing(config, work, models, probes, items, tasks, check).run(not_asked)
        work.end("completed")
        page = _write_comparison(compared, config.out, work)
        work.console.print(f"[bold]Report:[/bold] {page}")
    return compared


def _write_comparison(compared: ComparedModels, out: Path, work: Workspace) -> Path:
    """Write report.html and report.json; returns the path of the page."""
    report = Report(
        kind="Custodes comparison",
        title=" and ".join(compared.models),
        subtitle=f"Run {work.run}",
        sections=[
            ModelsSection(compared, "models"),
            *(ProbeSection(compared, name, found.title) for name, found in compared.probes.items()),
        ],
        head=configured_head(work.ledger),
        summary="What differs",
        reading="Brackets hold 95 % intervals; n counts prompts or questions, over which they are taken.",
    )
    page = save_report(report, out / "report.html", (out / "report.json", report.to_json()))
    work.recording.keep(page, page.with_suffix(".json"))
    return page


@in_words(audit_compare)
def _show(config: AuditCompare, compared: ComparedModels) -> None:
    sections = [
        ModelsSection(compared, "models"),
        *(ProbeSection(compared, n, f.title) for n, f in compared.probes.items()),
    ]
    for section in sections:
        for claim in section.claims():
            print(claim)
    for name, why in compared.not_asked.items():
        print(f"Not asked: {name}. {why[0].upper()}{why[1:].rstrip('.')}.")
    for name, found in compared.probes.items():
        for model, why in found.skipped.items():
            print(f"Not asked: {name} of {model}. {why[0].upper()}{why[1:].rstrip('.')}.")
    print(config.out / "report.html")


def _probes(config: AuditCompare) -> dict[str, Probe]:
    """Name -> the probe with its options."""
    made, options = {}, dict(config.probe_options)
    for kind in probes_asked(config.probes):
        own = {f.name: options[f.name] for f in fields(kind) if options.get(f.name) is not None}
        made[probe.name_of(kind).rpartition(":")[2].lower()] = kind(**own)
    if not made:
        raise InputError(f"--probes names no probe; there are {', '.join(probe.names())}.")
    return made


def _items(config: AuditCompare, probes: dict[str, Probe]) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """The items of every probe that asks some, and of the probes without any why; those are taken out of ``probes``.

    Raises InputError where a probe that was named has none.
    """
    if config.data is not None and not config.data.is_dir():
        raise InputError(f"--data {config.data} is no folder; give one with the files that probes read.")
    items: dict[str, list[Any]] = {}
    not_asked: dict[str, str] = {}
    for name, made in list(probes.items()):
        if made.reads != "items":
            continue
        try:
            items[name] = made.items(config.data, config.items, config.sampling.seed)
        except NoItems as why:
            if config.probes != "all":
                raise InputError(f"probe {name}: {why}.") from None
            not_asked[name] = str(why)
            del probes[name]
    return items, not_asked


def _tasks(config: AuditCompare) -> tuple[list[Task], Reward | None]:
    """The prompts, and what says whether a reply does what was asked; None where nobody says."""
    text = prompts_are_text(config.tasks, config.prompt_column) if config.tasks else True
    check = RewardOptions(reward=(config.check,)).open_rewards(text=text) if config.check else None
    if config.tasks:
        tasks = read_tasks(config.tasks, config.prompt_column, config.system)[: config.measure_on]
        if len(tasks) < 2:
            raise InputError(f"{config.tasks} holds {len(tasks)} prompt; give at least 2.")
        return tasks, check
    built_in = [task for task in instruction_tasks() if task.metadata["split"] == "held_out"]
    return built_in[: config.measure_on], check or GoldReward()


def _hash(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass
class _Comparing:
    """One comparison: what each model said is recorded as it comes, and read back by a run that goes on."""

    config: AuditCompare
    work: Workspace
    models: dict[str, str]
    probes: dict[str, Probe]
    items: dict[str, list[Any]]
    tasks: list[Task]
    check: Reward | None
    told: dict[str, dict[str, ProbeColumns]] = field(default_factory=dict)  # model -> probe -> its columns
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)  # probe -> model -> why
    about: dict[str, ComparedModel] = field(default_factory=dict)
    drawn: dict[str, list[Episode]] = field(default_factory=dict)

    def run(self, not_asked: dict[str, str]) -> ComparedModels:
        for model in self.config.named():
            self.told[model] = {}
        for probe_ in self.probes.values():
            for file in probe_.files(self.config.data).values() if probe_.data else ():
                reads(file)
        self.setting = self._setting()
        self.work.write(self.tasks)
        first, *others = self.models
        for model in [*others, first]:
            engine = self._open(model)
            if any(p.reads == "replies" for p in self.probes.values()):
                self._draw(model, engine)
            for name, items in self.items.items():
                self._ask(name, model, engine, items)
            if model == first:
                for other in others:
                    self._distance(first, other, engine)
        for model in self.models:
            if not self.work.has(f"compared-model-{model}"):
                self.work.record(f"compared-model-{model}", self.about[model], model)
        return self._found(not_asked)

    def _setting(self) -> ProbeSetting:
        """Letters that every model can be asked for: endpoints may tell of first tokens alone."""
        endpoints = [model for model in self.models.values() if model.startswith(ENDPOINT)]
        whole = all(open_endpoint(model, "--models").continues() for model in endpoints)
        return ProbeSetting(BRACKETED if whole else BARE)

    def _open(self, name: str) -> Any:
        model, config = self.models[name], self.config
        with self.work.phase("model", f"{name}: {model}"):
            engine = open_engine("torch", model, "--models", dtype=config.dtype, device=config.device)
            fingerprint = engine.lm.fingerprint() if isinstance(engine, TorchEngine) else ""
            self.about[name] = ComparedModel(
                model=model,
                history=history_of(model, engine),
                fingerprint=fingerprint,
                tokenizer=tokenizer_hash(engine),
            )
            known = Model(fingerprint or model, name, "policy", None, {"model": model})
            if not any(m.id == known.id for m in self.work.ledger.models(self.work.run)):
                self.work.write([known])
        return engine

    # ------------------------------------------------------------ what a model says

    def _draw(self, model: str, engine: Engine) -> None:
        """The replies that all probes share, and what is known of each."""
        with self.work.phase(
            "sampling", f"{model} answers {len(self.tasks)} prompts, {self.config.sampling.n} times each"
        ):
            episodes = self.work.sample(f"replies, {model}", engine, self.tasks, self.config.sampling)
        self.drawn[model] = episodes
        tokenizer = self.about[model].tokenizer

        def observe(some: Sequence[Episode]) -> ProbeColumns:
            scores = self.check.score(some).total() if self.check is not None else None
            meets = [None] * len(some) if scores is None else (scores >= 1 - 1e-9).astype(float).tolist()
            columns: dict[str, list[Any]] = {"tokenizer": [tokenizer] * len(some), "meets": meets}
            if all(e.actions and np.isfinite(e.logprobs[e.action_mask]).all() for e in some):
                surprise = [-e.logprobs[e.action_mask].astype(float) for e in some]
                columns |= {
                    "nats": [float(s.sum()) for s in surprise],
                    "first_nats": [float(s[0]) for s in surprise],
                    "tokens": [len(s) for s in surprise],
                }
            return columns

        self._kept("replies", model, episodes, observe, CHUNK_REPLIES)

    def _ask(self, name: str, model: str, engine: Any, items: list[Any]) -> None:
        asked = self.probes[name]
        with self.work.phase("probe", f"{asked.title}, {model}"):
            self._kept(name, model, items, lambda some: asked.observe(engine, some, self.setting), CHUNK_ITEMS)

    def _distance(self, first: str, other: str, engine: Any) -> None:
        """How far a model's replies are from the first model's: the k1 estimate of KL(other || first), where tokens are the same."""
        about, one = self.about[other], self.about[first]
        drawn = self.drawn.get(other, [])
        if not drawn:
            why = "no replies were drawn"
        elif not about.tokenizer or not one.tokenizer:
            why = "the tokenizer of a model behind a server is not known"
        elif about.tokenizer != one.tokenizer:
            why = "their tokenizers differ, so their probabilities are of different things"
        else:
            with self.work.phase("KL", f"KL of {other} to {first}"):
                self._kept("kl", other, drawn, lambda some: _kl(engine, some), CHUNK_REPLIES)
            kl, tasks = self.told[other]["kl"]["kl"], [e.task.id for e in drawn]
            self.about[other] = ComparedModel(**{**vars(about), "kl": mean_interval(kl, tasks)})
            return
        self.about[other] = ComparedModel(**{**vars(about), "no_kl": why})

    def _kept(
        self, name: str, model: str, asked: Sequence[Any], observe: Callable[[Sequence[Any]], ProbeColumns], chunk: int
    ) -> None:
        """ProbeColumns of everything that is asked: what is recorded, and the rest observed and recorded now."""
        rows = {
            row.start: row for row in ModelProbed.recorded(self.work.ledger, self.work.run, model) if row.probe == name
        }
        columns: dict[str, list[Any]] = {}
        with self.work.progress(f"{name}, {model}", len(asked)) as advance:
            for start in range(0, len(asked), chunk):
                some = asked[start : start + chunk]
                if start not in rows:
                    try:
                        observed = {key: list(value) for key, value in observe(some).items()}
                        rows[start] = ModelProbed(probe=name, start=start, columns=observed)
                    except CannotTell as why:
                        rows[start] = ModelProbed(probe=name, start=start, why_not=str(why))
                    self.work.record(f"probed-{name}-{model}-{start}", rows[start], model)
                if rows[start].why_not:
                    self.skipped.setdefault(name, {})[model] = rows[start].why_not
                    return
                for key, values in rows[start].columns.items():
                    columns.setdefault(key, []).extend(values)
                advance(len(some))
        self.told[model][name] = {key: own for key, own in columns.items() if len(own) == len(asked)}

    # ------------------------------------------------------------ what it comes to

    def _found(self, not_asked: dict[str, str]) -> ComparedModels:
        found, charts = {}, {}
        for name, asked in self.probes.items():
            source = name if asked.reads == "items" else "replies"
            items = self.items.get(name, [])
            observed = {m: own[source] for m in self.models if source in (own := self.told[m])}
            if asked.reads == "replies":
                observed = {m: {**own, **self._replies(m)} for m, own in observed.items()}
            figures = asked.figures(observed, items) if observed else []
            skipped = dict(self.skipped.get(source, {}))
            for model in self.models:
                if figures and model not in skipped and not any(model in f.models for f in figures):
                    skipped[model] = "its engine gives no log-probabilities of what it says."
            found[name] = ProbeFound(
                title=asked.title,
                asks=asked.asks,
                cannot=asked.cannot,
                headline=list(asked.headline),
                asked=len(items) or len(self.tasks) * self.config.sampling.n,
                figures=figures,
                skipped=skipped or ({} if figures else dict.fromkeys(self.models, "nothing could be told of it.")),
            )
            charts[name] = asked.charts(observed, items) if figures else {}
            if not self.work.has(f"probe-found-{name}"):
                self.work.record(f"probe-found-{name}", found[name], name)
        return ComparedModels({m: self.about[m] for m in self.models}, found, not_asked, charts)

    def _replies(self, model: str) -> ProbeColumns:
        """What the ledger's episodes themselves say, and the KL where it was measured."""
        episodes = self.drawn[model]
        columns: dict[str, list[Any]] = {
            "task": [e.task.id for e in episodes],
            "text": [e.completion if e.outcome != "error" else None for e in episodes],
            "cut": [float(e.outcome == "length") for e in episodes],
        }
        return {**columns, **self.told[model].get("kl", {})}


def _kl(base: Engine, episodes: Sequence[Episode]) -> ProbeColumns:
    """``kl``: the k1 estimate of each reply's KL; ``base_nats``: how far the reply surprises the base model."""
    before = [float(nats.astype(float).sum()) for nats in base.logprobs(episodes)]
    own = [float(e.logprobs.astype(float).sum()) for e in episodes]
    return {"kl": [o - b for o, b in zip(own, before, strict=True)], "base_nats": [-b for b in before]}
