"""The table of commands, and what becomes of one that fails: one sentence on stderr and an exit code.

Whatever is slow to import is imported inside the command that needs it, so that ``custodes --help`` answers at once.
That is also why annotations are evaluated here as they stand: those of the options' dataclasses name local imports.
"""

import sys
import warnings
from collections.abc import Callable, Sequence

from custodes import __version__
from custodes.cli import critic, feedback, gaming, judge, labels, ledger, loop, project, quality, web
from custodes.cli.recorded import UNRECORDED, recorded_command, take_options
from custodes.cli.words import complain, forget_output, keep_notes, storage_problem
from custodes.registry import nearest
from custodes.types import InputError

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "quickstart": loop.quickstart,
    "reward train": loop.reward_train,
    "reward evaluate": loop.reward_evaluate,
    "reward export": loop.reward_export,
    "verify": ledger.verify,
    "ledger keygen": ledger.keygen,
    "ledger sign": ledger.sign,
    "report": loop.report,
    "arms": loop.arms,
    "annotators": feedback.annotators,
    "quality labels": labels.labels,
    "quality annotators": labels.annotators,
    "quality comparisons": quality.comparisons,
    "quality watch": quality.watch,
    "judge": judge.judge,
    "project new": project.new,
    "project check": project.check,
    "project open": web.project_open,
    "serve": web.serve,
    "export": web.export,
    "import": web.import_,
    "convert": feedback.convert,
    "sample": loop.sample,
    "models": loop.models,
    "gaming run": gaming.run,
    "gaming train": gaming.train,
    "gaming policies": gaming.policies,
    "gaming report": gaming.report,
    "gaming monitor": gaming.monitor,
    "gaming compare": gaming.compare,
    "gaming serve": gaming.serve,
    "critique": critic.critique,
    "lsp": critic.lsp,
    "critic corpus": critic.corpus,
    "critic tamper": critic.tamper,
    "critic natural": critic.natural,
    "critic select": critic.select,
    "critic train": critic.train,
    "critic tune": critic.tune,
    "critic evaluate": critic.evaluate,
    "critic prioritise": critic.prioritise,
    "critic subtlety": critic.subtlety,
    "critic scaling": critic.scaling,
    "critic teams": critic.teams,
}

RESUMABLE = {
    "critic scaling",
    "critic select",
    "critic tune",
    "critic train",
    "critic tamper",
    "gaming train",
    "quickstart",
    "reward train",
    "gaming run",
    "gaming monitor",
    "critic corpus",
}
"""Commands that go on where they were interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 done, 1 the answer is no, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings():
            keep_notes()
            code = run(given)
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(str(error), 2)
    except KeyboardInterrupt:
        goes_on = RESUMABLE & {" ".join(given[:1]), " ".join(given[:2])}
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
    if name in UNRECORDED:
        return COMMANDS[name](rest)
    where, head_file, rest = take_options(name, rest)
    with recorded_command(name, where, head_file):
        return COMMANDS[name](rest)


def overview(group: str) -> str:
    """The commands, all or those of one group, with the first line of their docstrings."""
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    lines = [f"  {name:<20}{(command.__doc__ or '').splitlines()[0]}" for name, command in shown.items()]
    return "\n".join(
        [
            "Custodes trains language models on human feedback and watches the watchers.\n",
            f"usage: custodes {group or 'COMMAND'} ...\n",
            *lines,
            "\nOptions of a command: custodes COMMAND --help. They can also be given in a YAML file, --config FILE.",
            "Commands are recorded in a ledger: --ledger WHERE names another (none: none), --head-file FILE keeps its head.",
        ]
    )
