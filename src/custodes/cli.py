"""The command line: one command per verb. It parses, calls and prints; what is done is done elsewhere.

A command's options are the fields of a dataclass; a YAML file (``--config FILE``) may give them too, and flags take
precedence over it. What a person did wrong is one sentence on stderr and exit code 2.

Whatever is slow to import is imported inside the command that needs it, so that ``custodes --help`` answers at once.
That is also why annotations are evaluated here as they stand: those of the options' dataclasses name local imports.
"""

import contextlib
import difflib
import errno
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import tyro

from custodes import __version__
from custodes.types import Episode, InputError, Judgment, Message, Sampling, Task

T = TypeVar("T")
Ledger = Annotated[str, tyro.conf.arg(metavar="LEDGER")]
File = Annotated[Path, tyro.conf.arg(metavar="FILE")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 done, 1 the answer is no, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = lambda message, *where, **more: f"Note: {message}\n"
    try:
        code = run(given)
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(str(error), 2)
    except KeyboardInterrupt:
        goes_on = {"quickstart", "reward train", "gaming run"} & {" ".join(given[:1]), " ".join(given[:2])}
        return complain("interrupted; the same command goes on from here." if goes_on else "interrupted.", 130)
    except BrokenPipeError:  # whoever read our output has gone, as in `custodes ... | head`
        forget_output()
        return 1
    except Exception as error:
        sentence = storage_problem(error)
        if sentence is None:
            raise
        forget_output()
        return complain(sentence, 2)


def run(given: list[str]) -> int:
    """Find the command and hand it its arguments."""
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    words = 2 if given[:1] and given[0] in groups else 1
    name, rest = " ".join(given[:words]), given[words:]
    if name == "--version":
        print(f"custodes {__version__}")
        return 0
    if not name or name in groups or name.split()[-1] in ("-h", "--help"):
        print(overview(name.split()[0] if name and name.split()[0] in groups else ""))
        return 0 if name.endswith(("-h", "--help")) else 2
    if name not in COMMANDS:
        raise InputError(f"there is no command {name!r}; did you mean {nearest(name, COMMANDS)!r}?")
    return COMMANDS[name](rest)


def overview(group: str) -> str:
    """The commands, all or those of one group, with the first line of their docstrings."""
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    lines = [f"  {name:<18}{(command.__doc__ or '').splitlines()[0]}" for name, command in shown.items()]
    return "\n".join(
        [
            "Custodes trains language models on human feedback and watches the watchers.\n",
            f"usage: custodes {group or 'COMMAND'} ...\n",
            *lines,
            "\nOptions of a command: custodes COMMAND --help. They can also be given in a YAML file, --config FILE.",
        ]
    )


# ---------------------------------------------------------------- the commands


def quickstart(given: list[str]) -> int:
    """Judgments, reward, policy, report: the whole loop on a real model."""
    from custodes.recipes import QuickstartConfig
    from custodes.recipes import quickstart as run_quickstart

    run_quickstart(parse("quickstart", QuickstartConfig, given))
    return 0


def reward_train(given: list[str]) -> int:
    """Train a reward model on a file of preferences."""
    from custodes.recipes import TrainFromFile, train_from_file

    options = parse("reward train", TrainFromFile, given)
    _, evaluation = train_from_file(options)
    print(f"The reward model is in {options.out}.")
    if evaluation is not None:
        print(f"Accuracy on held-out pairs: {evaluation.accuracy}.")
    return 0


def reward_evaluate(given: list[str]) -> int:
    """Evaluate a reward model on a file of preferences."""
    from custodes.recipes import EvaluateFromFile, evaluate_from_file

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Evaluate a reward model on a file of preferences."""

        evaluation: EvaluateFromFile
        json: bool = False
        """Print one JSON object."""

    options = parse("reward evaluate", Options, given)
    found = evaluate_from_file(options.evaluation)
    if options.json:
        print_json(found.to_dict())
    else:
        for name in (f.name for f in fields(found)):
            print(f"{name.replace('_', ' ').capitalize():<20} {getattr(found, name)}")
    return 0


def verify(given: list[str]) -> int:
    """Check that nothing in a ledger was edited, removed or reordered."""
    from custodes.ledger import verify_ledger

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Check that nothing in a ledger was edited, removed or reordered: exit code 0, or 1 and the first bad row."""

        ledger: tyro.conf.Positional[Ledger]
        """File or URL (sqlite:///..., postgresql://...)."""

    options = parse("verify", Options, given)
    found = verify_ledger(options.ledger)
    print(f"The chain holds: {found.rows:,} rows." if found.ok else f"The chain is broken: {found.problem}")
    return 0 if found.ok else 1


def report(given: list[str]) -> int:
    """Write the report of a run again, from its ledger alone."""
    from custodes.audit import write_report
    from custodes.ledger import Ledger as OpenLedger

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
        runs = [options.run] if options.run else [r.id for r in ledger.runs()]
        if not runs:
            raise InputError(f"{options.ledger} holds no run; there is nothing to report.")
        page, data = write_report(ledger, runs[-1], options.out)
    print(f"{page}\n{data}")
    return 0


def annotators(given: list[str]) -> int:
    """Say who among the annotators of a file can be trusted."""
    from rich.console import Console
    from rich.table import Table

    from custodes.feedback import agreement, fit_annotators

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Fit reliability and biases of the annotators in a file, with standard errors; least reliable first."""

        file: tyro.conf.Positional[File]
        """Judgments, or preferences with a column "annotator": JSONL (.gz), JSON or parquet."""
        axis: str = "overall"
        """Comparisons and rankings on this axis."""
        json: bool = False
        """Print one JSON object."""

    options = parse("annotators", Options, given)
    judgments, episodes = read_judged(options.file)
    model = fit_annotators(judgments, episodes, options.axis)
    shared = agreement(judgments, axis=options.axis)
    estimates = sorted((model.of(name) for name in model.annotators), key=lambda e: e.reliability)
    if options.json:
        alpha = {"alpha": shared.alpha.to_dict(), "pairs": shared.items, "judgments": shared.judgments}
        print_json({"annotators": [asdict(e) for e in estimates], "agreement": alpha})
        return 0
    bias = "position" if episodes is None else "length"  # preference files do not say what was shown first
    table = Table("annotator", "judgments", "reliability", f"{bias} bias", box=None)
    for e in estimates:
        told = ((e.reliability, e.reliability_se), (getattr(e, bias), getattr(e, f"{bias}_se")))
        table.add_row(e.annotator, f"{e.judgments:,}", *(f"{value:+.2f} ± {1.96 * se:.2f}" for value, se in told))
    Console().print(table)
    print(f"± is the 95 % interval. Krippendorff's alpha over pairs judged by several: {shared.alpha}.")
    return 0


def read_judged(path: Path) -> tuple[Sequence[Judgment], list[Episode] | None]:
    """The judgments of a file, with their episodes where it holds them: a judgments file has only their ids."""
    from custodes.feedback import feedback_from_pairs, read_judgments, read_preferences
    from custodes.feedback.files import read_rows

    if "kind" in read_rows(path)[0].values:
        return read_judgments(path), None
    feedback = feedback_from_pairs(read_preferences(path))
    return feedback.judgments, list(feedback.episodes.values())


def convert(given: list[str]) -> int:
    """Convert a preference file into another form or file type."""
    from custodes.feedback import read_preferences, write_preferences
    from custodes.feedback.formats import Form

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Convert preferences between files (.jsonl, .jsonl.gz, .json, .parquet) and forms."""

        source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
        """Preferences in any form."""
        target: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
        """File to write; its extension says what kind."""
        form: Form = "conversational"
        """Lists of messages, text (one question, one answer), or raw dialogues as in hh-rlhf."""

    options = parse("convert", Options, given)
    pairs = read_preferences(options.source)
    print(f"{len(pairs):,} pairs in {write_preferences(options.target, pairs, options.form)}")
    return 0


def sample(given: list[str]) -> int:
    """Sample replies from a model."""
    from custodes.environments import read_tasks
    from custodes.lm import TorchEngine, load

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Sample replies from a model, to one prompt or to a file of prompts."""

        model: str = "smollm2-135m"
        """Embedded model, a local folder or a hub id."""
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
    from custodes.lm.embedded import EMBEDDED, cache_folder

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """List the models that need nothing but a package index."""

    parse("models", Options, given)
    for name, model in EMBEDDED.items():
        where = cache_folder() / name
        state = f"in {where}" if where.is_dir() else f"not fetched yet ({model.size / 1e6:.0f} MB)"
        print(f"{name}  {model.license}  from {model.requirement}  {state}")
    return 0


def gaming_run(given: list[str]) -> int:
    """Measure how often a policy flatters, edits rubrics and rewrites its reward."""
    from custodes.recipes.gaming import GamingRun
    from custodes.recipes.gaming import gaming_run as run_gaming

    print(run_gaming(parse("gaming run", GamingRun, ["--n" if word == "-n" else word for word in given])))
    return 0


def gaming_policies(given: list[str]) -> int:
    """List the scripted policies with what each must be classified as."""
    from custodes.gaming.scripted import expectations

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """List the scripted policies with what each must be classified as, stage by stage."""

        json: bool = False
        """Print one JSON object."""

    options = parse("gaming policies", Options, given)
    found = expectations()
    if options.json:
        print_json(found)
        return 0
    for name, policy in found.items():
        print(f"{name}: {policy['about']}")
        for stage, expected in policy["expected"].items():
            print(f"  {stage:<22}{expected}")
    return 0


def gaming_report(given: list[str]) -> int:
    """Write the report of a gaming run again, from its folder."""
    from custodes.recipes.gaming import gaming_report as write_again

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write report.html of a folder that `custodes gaming run` filled."""

        folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
        """What was given as --out."""

    print(write_again(parse("gaming report", Options, given).folder))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "quickstart": quickstart,
    "reward train": reward_train,
    "reward evaluate": reward_evaluate,
    "verify": verify,
    "report": report,
    "annotators": annotators,
    "convert": convert,
    "sample": sample,
    "models": models,
    "gaming run": gaming_run,
    "gaming policies": gaming_policies,
    "gaming report": gaming_report,
}


# ---------------------------------------------------------------- options: a YAML file first, then flags


def parse(name: str, kind: type[T], given: list[str]) -> T:
    """The options of command ``name``, a dataclass ``kind``; fields of nested dataclasses are options like the others.

    Raises InputError with one sentence for an option, a value or a configuration file that is wrong.
    """
    known = {option.replace("_", "-"): hint for option, hint, flag in option_types(kind) if flag}
    flags = {"config", "help", *known, *(f"no-{flag}" for flag, hint in known.items() if hint is bool)}
    for word in given:
        flag = word[2:].split("=")[0].replace("_", "-")
        if word.startswith("--") and flag not in flags:
            hint = f"did you mean --{nearest(flag, known)}?" if known else f"see custodes {name} --help."
            raise InputError(f"custodes {name} has no option --{flag}; {hint}")
    file, given = take_config(given)
    default = tyro.MISSING_NONPROP if file is None else from_yaml(kind, file)
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            return tyro.cli(
                kind, prog=f"custodes {name}", args=given, default=default, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as ended:
        if not ended.code:  # after --help
            raise
        raise InputError(one_sentence(drawn.getvalue(), f"custodes {name}")) from None


def option_types(kind: type) -> Iterator[tuple[str, Any, bool]]:
    """(name, type, whether it is a flag and not a position) of every option."""
    hints, marked = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        if is_dataclass(hints[f.name]):
            yield from option_types(hints[f.name])
        else:
            yield f.name, hints[f.name], tyro.conf.Positional not in getattr(marked[f.name], "__metadata__", ())


def take_config(given: list[str]) -> tuple[Path | None, list[str]]:
    """The file after ``--config``, and the arguments without it."""
    for i, word in enumerate(given):
        if word == "--config" and i + 1 == len(given):
            raise InputError("--config needs a YAML file after it.")
        if word == "--config":
            return Path(given[i + 1]), given[:i] + given[i + 2 :]
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), given[:i] + given[i + 1 :]
    return None, given


def from_yaml(kind: type[T], file: Path) -> T:
    """Options as a YAML file gives them; those that it must but does not give are left for flags."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"configuration {file} cannot be read ({getattr(error, 'strerror', 'not UTF-8')}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"configuration {file} is not YAML: {' '.join(str(error).split())}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"configuration {file} holds {type(content).__name__}; write one option: value on each line.")
    values = {str(name).replace("-", "_"): value for name, value in content.items()}
    names = {name for name, _, _ in option_types(kind)}
    for name in values:
        if name not in names:
            raise InputError(f"configuration {file}: no option {name!r}; did you mean {nearest(name, names)!r}?")
    try:
        return with_values(kind, values, file)
    except InputError as error:
        raise InputError(f"configuration {file}: {str(error).removeprefix(f'configuration {file}: ')}") from None


def with_values(kind: type[T], values: dict[str, Any], file: Path) -> T:
    """An instance of ``kind`` whose fields, nested ones too, have these values where there is one."""
    from pydantic import TypeAdapter, ValidationError

    hints, chosen = get_type_hints(kind), {}
    for f in fields(kind):  # type: ignore[arg-type]
        if is_dataclass(hints[f.name]):
            chosen[f.name] = with_values(hints[f.name], values, file)  # type: ignore[arg-type]
        elif f.name in values:
            try:
                chosen[f.name] = TypeAdapter(hints[f.name]).validate_python(values[f.name])
            except ValidationError as error:
                what = error.errors()[0]["msg"].replace("Input should", "it should")
                raise InputError(f"{f.name} is {values[f.name]!r}; {what}.") from None
        elif f.default is MISSING and f.default_factory is MISSING:
            chosen[f.name] = tyro.MISSING
    return kind(**chosen)


def one_sentence(drawn: str, command: str) -> str:
    """What tyro drew in a box, as one sentence."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()[1:]  # after the title
    lines = [line[1:].rstrip("│ ") for line in plain]  # the border is a blank where the terminal knows ASCII only
    inside = list(takewhile(is_text, dropwhile(lambda line: not is_text(line), lines)))
    if "Required options" in drawn:  # names stand four columns in, their help deeper
        missing = [line.strip() for line in inside if re.match(r" {5}\S", line)]
        return f"{command} needs {' and '.join(missing)}; see {command} --help."
    text = " ".join(" ".join(inside).split())
    text = re.sub(r"^Error parsing (--\S+): ", r"\1: ", text)
    text = re.sub(r"^Error parsing [^:]*: ", "", text)
    text = re.sub(r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is no whole number", text)
    text = re.sub(r"could not convert string to float: ('.*')", r"\1 is no number", text)
    return (text[:1].lower() + text[1:]).rstrip(".") + "."


def is_text(line: str) -> bool:
    """Whether a line of tyro's box is more than a rule."""
    return bool(line.strip(" ─-╰╯"))


# ---------------------------------------------------------------- saying what is so


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


def complain(sentence: str, code: int) -> int:
    print(f"custodes: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def forget_output() -> None:
    """What could not be printed is not tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nearest(name: str, names: Iterable[str]) -> str:
    return difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.0)[0]


FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)


def storage_problem(error: BaseException) -> str | None:
    """A sentence about a full disk or a file that cannot be used; None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL or "No space left" in str(error):  # some libraries raise errors of their own
        return "the disk is full; free some space and run the same command again (what was recorded is kept)."
    if isinstance(error, OSError) and number in CLOSED and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}); choose another file or folder."
    return storage_problem(error.__context__) if error.__context__ is not None else None
