"""The command line: it parses, calls and prints; what is done stands in the files of the commands.

A command's options are the fields of a dataclass; a YAML file (``--config FILE``) may give them too, and flags take
precedence over it. What a person did wrong is one sentence on stderr and exit code 2.
"""

from custodes.cli.main import main
from custodes.cli.table import commands

__all__ = ["commands", "main"]
