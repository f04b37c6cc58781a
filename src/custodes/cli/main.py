"""What becomes of a command line: the command is called, and one that fails is one sentence on stderr and an exit code."""

import sys
import warnings
from collections.abc import Sequence

from custodes import __version__
from custodes.cli.answer import call
from custodes.cli.recorded import recorded_command
from custodes.cli.table import GROUPS, find, overview, split
from custodes.cli.words import complain, forget_output, keep_notes, storage_problem
from custodes.job.command import DECLARED
from custodes.types import InputError


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
        declared = DECLARED.get(split(given)[0].replace(" ", "_"))
        goes_on = declared is not None and declared.resumes
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
    name, rest = split(given)
    if name == "--version":
        print(f"custodes {__version__}")
        return 0
    if name == "--completion":
        from custodes.cli.completion import completion

        print(completion(rest[0] if rest else ""))
        return 0
    if name in GROUPS or name in ("-h", "--help"):
        print(overview(name if name in GROUPS else ""))
        return 0 if {"-h", "--help"} & {name, *rest[:1]} else 2
    listed = find(name)
    with recorded_command(name):
        return call(listed, rest)
