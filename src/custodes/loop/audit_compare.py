"""Any two or more models, asked the same by probes: what ``custodes audit compare`` does.

Replies are drawn once for each model and task, and shared by all probes that read some. The first model comes last, so that it
is at hand when the KL of the others from it is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from custodes.audit.choice import BARE, BRACKETED
from custodes.audit.compared import ComparedModel, ComparedModels, ModelsSection, ProbeSection
from custodes.audit.probe import NoItems, Probe, ProbeSetting
from custodes.environments import GoldReward, instruction_tasks, prompts_are_text, read_tasks
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Model
from custodes.lm.address import ENDPOINT, open_endpoint, open_engine
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import check_model, lasting_name
from custodes.lm.precision import DtypeName
from custodes.loop.audited import write_audit
from custodes.loop.model_history import history_of, tokenizer_hash
from custodes.loop.probing import Probing
from custodes.ranges import Range, ranged
from custodes.registry import OptionsOf, probe
from custodes.reward.options import RewardOptions
from custodes.stats import mean_interval
from custodes.types import Engine, InputError, Reward, Sampling, Task


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
        if self.sampling.narrowed:
            raise InputError(
                f"models are compared by the replies that are their own; leave {self.sampling.narrowed} out."
            )
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
        probing = Probing(work, list(models), probes, items, _setting(models), config.data)
        compared = _Comparing(config, work, models, probing, tasks, check).run(not_asked)
        work.end("completed")
        page = _write_comparison(compared, config.out, work)
        work.console.print(f"[bold]Report:[/bold] {page}")
    return compared


def _write_comparison(compared: ComparedModels, out: Path, work: Workspace) -> Path:
    """Write report.html and report.json; returns the path of the page."""
    probes = (ProbeSection(compared, name, found.title) for name, found in compared.probes.items())
    return write_audit(
        work,
        out,
        [ModelsSection(compared, "models"), *probes],
        kind="Custodes comparison",
        title=" and ".join(compared.models),
        summary="What differs",
        reading="Brackets hold 95 % intervals; n counts prompts or questions, over which they are taken.",
    )


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


def _setting(models: Mapping[str, str]) -> ProbeSetting:
    """Letters that every model can be asked for: endpoints may tell of first tokens alone."""
    endpoints = [model for model in models.values() if model.startswith(ENDPOINT)]
    whole = all(open_endpoint(model, "--models").continues() for model in endpoints)
    return ProbeSetting(BRACKETED if whole else BARE)


def _hash(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass
class _Comparing:
    """One comparison: every model is opened, drawn from and asked, the first one last."""

    config: AuditCompare
    work: Workspace
    models: dict[str, str]
    probing: Probing
    tasks: list[Task]
    check: Reward | None
    about: dict[str, ComparedModel] = field(default_factory=dict)

    def run(self, not_asked: dict[str, str]) -> ComparedModels:
        for asked in self.probing.probes.values():
            for file in asked.files(self.config.data).values():
                reads(file)
        self.work.write(self.tasks)
        first, *others = self.models
        for model in [*others, first]:
            engine = self._open(model)
            if self.probing.reads_replies:
                self._draw(model, engine)
            self.probing.ask(model, engine)
            for other in others if model == first else ():
                self.about[other] = self._at_distance(first, other, engine)
        for model in self.models:
            if not self.work.has(f"compared-model-{model}"):
                self.work.record(f"compared-model-{model}", self.about[model], model)
        found, charts = self.probing.found()
        return ComparedModels({m: self.about[m] for m in self.models}, found, not_asked, charts)

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

    def _draw(self, model: str, engine: Engine) -> None:
        sampling = self.config.sampling
        with self.work.phase("sampling", f"{model} answers {len(self.tasks)} prompts, {sampling.n} times each"):
            episodes = self.work.sample(f"replies, {model}", engine, self.tasks, sampling)
        self.probing.look_at(model, episodes, self.check, self.about[model].tokenizer)

    def _at_distance(self, first: str, other: str, engine: Engine) -> ComparedModel:
        """What is known of a model, with its KL to the first one, or why that is not told."""
        about, one = self.about[other], self.about[first]
        if not self.probing.drawn.get(other):
            return replace(about, no_kl="no replies were drawn")
        if not about.tokenizer or not one.tokenizer:
            return replace(about, no_kl="the tokenizer of a model behind a server is not known")
        if about.tokenizer != one.tokenizer:
            return replace(about, no_kl="their tokenizers differ, so their probabilities are of different things")
        return replace(about, kl=mean_interval(*self.probing.kl(other, engine)))
