"""The one error for what a person gave us; :mod:`custodes.types` hands it on."""


class InputError(ValueError):
    """Something a person gave us is wrong: one sentence saying what, where and what would be right.

    The command line prints it without a traceback and exits with code 2.
    """
