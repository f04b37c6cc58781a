"""The command line: one command per verb. It parses, calls and prints; what is done is done elsewhere.

A command's options are the fields of a dataclass; a YAML file (``--config FILE``) may give them too, and flags take
precedence over it. What a person did wrong is one sentence on stderr and exit code 2.
"""

from custodes.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
