"""The loop's commands: quickstart, rewards, the ledger, its report, samples and models."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from custodes.cli.answer import answer
from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.types import InputError, Message, Sampling, Task

if TYPE_CHECKING:
    from custodes.reward import RewardEvaluation

Ledger = Annotated[str, tyro.conf.arg(metavar="LEDGER")]


def quickstart(given: list[str]) -> int:
    """Judgments, reward, policy, report: the whole loop on a real model."""
    from custodes.loop.quickstart import QuickstartConfig
    from custodes.loop.quickstart import quickstart as run_quickstart

    run_quickstart(parse("quickstart", QuickstartConfig, given))
    return 0


def reward_train(given: list[str]) -> int:
    """Train a reward model on a file of preferences."""
    from custodes.loop.reward_from_file import TrainFromFile, train_from_file

    options = parse("reward train", TrainFromFile, given)
    _, evaluation = train_from_file(options)
    print(f"The reward model is in {options.out}.")
    if evaluation is not None:
        print(f"Accuracy on held-out pairs: {evaluation.accuracy}.")
    return 0


def reward_evaluate(given: list[str]) -> int:
    """Evaluate a reward model on a file of preferences."""
    from custodes.loop.reward_from_file import EvaluateFromFile, evaluate_from_file

    def show(_: EvaluateFromFile, found: "RewardEvaluation") -> None:
        for name in (f.name for f in fields(found)):
            print(f"{name.replace('_', ' ').capitalize():<20} {getattr(found, name)}")

    return answer("reward evaluate", EvaluateFromFile, given, evaluate_from_file, show, lambda found: found.to_dict())


def reward_export(given: list[str]) -> int:
    """Write each member of a reward model as a folder that transformers loads."""
    from custodes.reward import export, load_reward

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write each member of a reward model as a folder that transformers' AutoModelForSequenceClassification loads."""

        model: Path
        """Folder of a reward model, or a hub id of a Llama-like sequence classifier."""
        out: Path
        """New folder for them: member_0, member_1, ..."""
        dtype: Literal["auto", "bfloat16", "float32"] = "auto"
        """Precision of what is written."""

    options = parse("reward export", Options, given)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise InputError(f"{options.out} is not empty; choose another --out.")
    for folder in export(load_reward(options.model, options.dtype), options.out):
        print(folder)
    return 0


def report(given: list[str]) -> int:
    """Write the report of a run again, from its ledger alone."""
    from custodes.audit import write_report
    from custodes.ledger import Ledger as OpenLedger
    from custodes.ledger.artefacts import require_files

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write the report of a run again, from its ledger alone."""

        ledger: tyro.conf.Positional[Ledger]
        """File or URL (sqlite:///..., postgresql://...)."""
        out: Path
        """Folder for report.html and report.json."""
        run: str = ""
        """Id of the run; the ledger's last one when it is not given."""

    options = parse("report", Options, given)
    with OpenLedger.open(options.ledger, read_only=True) as ledger:
        require_files(ledger)
        runs = [options.run] if options.run else [r.id for r in ledger.runs() if r.recipe != "report"]
        if not runs:
            raise InputError(f"{options.ledger} holds no run; there is nothing to report.")
        page, data = write_report(ledger, runs[-1], options.out)
    print(f"{page}\n{data}")
    return 0


def arms(given: list[str]) -> int:
    """Set the arms of several runs side by side at equal KL, seed by seed."""
    from rich.console import Console
    from rich.table import Table

    from custodes.audit import compare_arms

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """The careful and the naive arm of several runs (custodes quickstart --arms all --seed N) at equal KL."""

        runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR")]]
        """Folders of the runs, or their ledgers; one for each seed."""
        json: bool = False
        """Print one JSON object."""

    options = parse("arms", Options, given)
    found = compare_arms(options.runs)
    if options.json:
        print_json(found.to_dict())
        return 0
    table = Table("seed", "√KL", "gold, careful", "gold, naive", "difference, paired by task", box=None)
    for s in found.seeds:
        table.add_row(str(s.seed), f"{s.sqrt_kl:.2f}", *(str(i) for i in (s.careful, s.naive, s.difference)))
    Console().print(table)
    print(f"Over seeds (Student's t of the seeds' differences): {found.difference}.")
    return 0


def sample(given: list[str]) -> int:
    """Sample replies from a model."""
    from custodes.environments import read_tasks
    from custodes.lm import TorchEngine, load

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Sample replies from a model, to one prompt or to a file of prompts."""

        model: str = "smollm2-135m"
        """Embedded model, a local folder, a .gguf file or a hub id."""
        adapter: Path | None = None
        """Folder of a saved adapter."""
        prompt: str = ""
        """What the user says."""
        prompts: Path | None = None
        """File with a column prompt, messages or chosen: JSONL, CSV or parquet."""
        dtype: Literal["auto", "bfloat16", "float32"] = "auto"
        """Precision of computation; auto takes bfloat16 where this machine multiplies it natively."""
        json: bool = False
        """Print one JSON object per reply."""
        sampling: Sampling = field(default_factory=Sampling)

    options = parse("sample", Options, ["--n" if word == "-n" else word for word in given])
    if bool(options.prompt) == (options.prompts is not None):
        raise InputError("custodes sample takes --prompt TEXT or --prompts FILE, one of them.")
    own = [Task("prompt", (Message("user", options.prompt),))]
    tasks = own if options.prompts is None else read_tasks(options.prompts)
    lm = load(options.model, adapter=options.adapter, dtype=options.dtype)
    for episode in TorchEngine(lm).generate(tasks, options.sampling):
        if options.json:
            told = {"task": episode.task.id, "messages": [m.to_dict() for m in episode.messages]}
            print_json(told | {"outcome": episode.outcome, "tokens": episode.actions})
        else:
            print(episode.completion, end="\n\n" if len(tasks) * options.sampling.n > 1 else "\n")
    return 0


def models(given: list[str]) -> int:
    """List the embedded models."""
    from custodes.lm.cache import models_folder
    from custodes.lm.embedded import EMBEDDED

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """List the models that need nothing but a package index."""

    parse("models", Options, given)
    for name, model in EMBEDDED.items():
        where = models_folder() / name
        state = f"in {where}" if where.is_dir() else f"not fetched yet ({model.size / 1e6:.0f} MB)"
        print(f"{name}  {model.license}  from {model.requirement}  {state}")
    return 0
