"""The critic that comes with Custodes."""

from __future__ import annotations

from custodes.critic.lines import LineScorer, shipped_critic
from custodes.lm.loading import DtypeName
from custodes.registry import scorer
from custodes.types import InputError


@scorer
def shipped(model: str, dtype: DtypeName) -> LineScorer:
    """The scorer of lines in the package, on the model that was named. Raises InputError where the package has none."""
    folder = shipped_critic()
    if folder is None:
        raise InputError("no critic comes with this installation; name the folder of one, or likelihood.")
    return LineScorer.load(folder, dtype, base=model)
