"""The table of commands, collected from the folders in which their files stand; no file is imported for it."""

import difflib
import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from custodes.job.command import DECLARED, Command
from custodes.types import InputError

ROOT = Path(__file__).parent.parent
FOLDERS = ("loop", "*/jobs")
FUNCTION = re.compile(r'^@command\(.*?\)\ndef (\w+)\(.*?\) -> [^:]+:\n    """(.+?)(?:"""|$)', re.MULTILINE | re.DOTALL)
"""A command in the text of its file: the function's name, and the first line of its docstring."""

GROUPS = {
    "": "the loop, the record and the servers",
    "policy": "models that answer",
    "reward": "what answers are worth",
    "feedback": "who judged, whom to believe, and everybody's files",
    "project": "what people judge in a browser",
    "ledger": "keys that sign the record, and what is withdrawn from it",
    "audit": "what was done, from the record, and what came of it",
    "gaming": "environments whose reward can be gained without doing the task",
    "critic": "models that find bugs, and the bugs they learn from",
}
"""The groups in the order in which they are shown."""

ELSEWHERE = {
    "sample": "policy sample", "generate": "policy sample", "chat": "policy sample", "infer": "policy sample",
    "report": "audit report", "arms": "audit seeds",
    "annotators": "feedback annotators", "judge": "feedback judge", "convert": "feedback convert",
    "quality labels": "feedback labels", "quality annotators": "feedback labels",
    "quality comparisons": "feedback comparisons", "quality watch": "feedback watch", "quality": "feedback labels",
    "export": "project export", "import": "project import", "init": "project new",
    "train": "policy optimise", "ppo": "policy optimise", "grpo": "policy optimise", "rloo": "policy optimise",
    "rl": "policy optimise", "rlhf": "policy optimise", "optimise": "policy optimise", "optimize": "policy optimise",
    "sft": "policy tune", "dpo": "policy tune", "ipo": "policy tune", "finetune": "policy tune", "merge": "policy export",
    "rm": "reward train", "score": "reward evaluate", "eval": "reward evaluate", "keygen": "ledger keygen", "redact": "ledger redact", "forget": "ledger redact",
    "view": "audit report", "log": "verify",
}  # fmt: skip
"""Names of version 0.1, and what other tools call it -> the command."""


EXTRAS = {"web": "web", "critic": "critic", "gaming": "evals"}
"""The extra with which the packages come that a guest needs."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One command of the table."""

    name: str
    module: str
    function: str
    summary: str

    def declared(self) -> Command:
        """The command itself: imports its file. Raises InputError where a package is missing that a guest needs."""
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(self.module.split(".")[1])
            if extra is None or str(error.name).split(".")[0] == "custodes":
                raise
            needed = f"custodes {self.name} needs {error.name}, which is not installed here"
            raise InputError(f"{needed}: pip install 'custodes[{extra}]'.") from None
        return DECLARED[self.function]


@cache
def commands() -> dict[str, Listed]:
    """Name -> command, group by group."""
    found = {}
    for folder in FOLDERS:
        for path in sorted(ROOT.glob(f"{folder}/*.py")):
            for function, summary in FUNCTION.findall(path.read_text(encoding="utf-8")):
                name = function.replace("_", " ", 1)
                module = ".".join(("custodes", *path.relative_to(ROOT).with_suffix("").parts))
                found[name] = Listed(name, module, function, summary)
    order = list(GROUPS)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0].rpartition(" ")[0]), item[0])))


def find(given: list[str]) -> tuple[Listed, list[str]]:
    """The command with which a command line begins, and what follows it.

    Raises InputError, which names the likeliest command, where there is none of this name.
    """
    for words in (2, 1):
        if (listed := commands().get(" ".join(given[:words]))) is not None:
            return listed, given[words:]
    group = given[0] if given[0] in GROUPS else ""
    two = group or " ".join(given[:2]) in ELSEWHERE
    name, verb = " ".join(given[: 2 if two else 1]), given[1] if group else " ".join(given[: 2 if two else 1])
    likely = [ELSEWHERE[words] for words in (name, verb) if ELSEWHERE.get(words) in commands()][:1]
    likely = likely or [known for known in commands() if known.split()[-1] == verb]
    of_group = {known.split()[-1]: known for known in commands() if group_of(known) == group}
    names = of_group if group else {known: known for known in commands()}
    likely = likely or [names[near] for near in difflib.get_close_matches(verb, names, n=1, cutoff=0.5)]
    meant = (
        f"did you mean {' or '.join(map(repr, likely))}?" if likely else f"see {f'custodes {group}'.strip()} --help."
    )
    raise InputError(f"there is no command {name!r}; {meant}")


def group_of(name: str) -> str:
    """ "gaming" of "gaming compare"; "" of a command at the top."""
    return name.rpartition(" ")[0]


def overview(group: str) -> str:
    """The commands, all or those of one group, with the first line of their docstrings."""
    lines = ["Custodes trains language models on human feedback and watches the watchers.\n"]
    lines.append(f"usage: custodes {group or 'COMMAND'} ...")
    for title, about in GROUPS.items():
        shown = [listed for listed in commands().values() if group_of(listed.name) == title]
        if shown and group in ("", title):
            lines.append(f"\n{title.capitalize() or 'Custodes'}: {about}")
            lines += [f"  {listed.name:<22}{listed.summary}" for listed in shown]
    lines += [
        "\nOptions of a command: custodes COMMAND --help. They can also be given in a YAML file, --config FILE.",
        "Commands are recorded in a ledger: --ledger WHERE names another (none: none), --head-file FILE keeps its head.",
        "Results can be printed as JSON: --json. Completion for a shell: custodes --completion bash|zsh|fish.",
    ]
    return "\n".join(lines)
