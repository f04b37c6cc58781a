"""What becomes of a command line: the command is called, and one that fails is one sentence on stderr and an exit code."""

import sys
import warnings
from collections.abc import Sequence

from custodes import __version__
from custodes.cli.call import call
from custodes.cli.table import GROUPS, find, overview
from custodes.cli.words import complain, forget_output, keep_notes, storage_problem
from custodes.job.command import DECLARED
from custodes.types import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 done, 1 the answer is no, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    first, second = [*given, "", ""][:2]
    try:
        if first == "--version":
            print(f"custodes {__version__}")
            code = 0
        elif first == "--completion":
            from custodes.cli.completion import completion

            print(completion(second))
            code = 0
        elif first in ("-h", "--help") or (first in GROUPS and (not second or second.startswith("-"))):
            print(overview(first if first in GROUPS else ""))
            code = 0 if {"-h", "--help"} & {first, second} else 2
        else:
            with warnings.catch_warnings():
                keep_notes()
                code = call(*find(given))
        sys.stdout.flush()
        return code
    except InputError as error:
        return complain(str(error), 2)
    except KeyboardInterrupt:
        names = {first, f"{first}_{second}"} & DECLARED.keys()
        goes_on = any(DECLARED[name].resumes for name in names)
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
