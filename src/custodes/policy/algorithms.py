"""The algorithms: how episodes and their rewards become a gradient. One optimisation loop serves them all.

To add one, write an advantage function (or a loss) in a file of your own and name it where an algorithm is asked for,
``FILE.py:NAME``; or :func:`register` it from Python. The loop needs no edit.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import torch
from torch import Tensor

from custodes.policy import advantages as adv
from custodes.policy.advantages import Outcomes
from custodes.policy.losses import clipped_policy_loss, supervised_loss
from custodes.ranges import check_ranges
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.policy.config import OptimiseConfig


@dataclass(frozen=True, slots=True, eq=False)
class Actions:
    """The M actions of one micro-batch, flat: no padding. What a loss function sees."""

    logprobs: Tensor  # (M,) nats at the sampling temperature, with gradient
    old: Tensor  # (M,) the same before the iteration's first update
    reference: Tensor  # (M,) the same under the reference policy
    entropy: Tensor  # (M,) nats, of the next-token distribution; with gradient where the entropy bonus is on
    advantages: Tensor  # (M,)
    values: Tensor | None  # (M,) with gradient, and the same before the update; what they should be
    old_values: Tensor | None
    returns: Tensor | None
    episode: Tensor  # (M,) int64: which episode of the micro-batch, from 0; all actions of an episode are in one

    def per_episode(self, x: Tensor) -> Tensor:
        """(M,) -> (M,): the mean of ``x`` over the actions of each action's own episode, with gradient."""
        total = x.new_zeros(int(self.episode.max()) + 1).index_add(0, self.episode, x)
        return (total / torch.bincount(self.episode))[self.episode]

    def lengths(self) -> Tensor:
        """(M,) int64: the number of actions of each action's own episode."""
        return torch.bincount(self.episode)[self.episode]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How episodes and rewards become a gradient."""

    name: str
    advantages: Callable[[Outcomes, OptimiseConfig], tuple[Tensor, Tensor | None]]
    """Advantages (B, T) and, where there is a value function, the returns (B, T) it should have predicted."""
    loss: Callable[[Actions, OptimiseConfig], Tensor]
    """The policy's loss of each action (M,)."""
    source: str
    select: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    """From total rewards (B,), groups (B,) int64 and numbers of actions (B,): which episodes are learned from, (B,) bool. None: all."""
    needs_value: bool = False
    needs_groups: bool = False
    """Whether each task must be sampled at least twice."""
    by_constant: bool = False
    """Divide the loss by the longest possible length instead of by the number of actions (arXiv 2503.20783)."""
    options: type | None = None
    """A dataclass of options of its own; functions find one as ``config.own``, made of ``algorithm_options``."""


ALGORITHMS: dict[str, Algorithm] = {}


def register(algorithm: Algorithm) -> Algorithm:
    """Make an algorithm known under its name."""
    ALGORITHMS[algorithm.name] = algorithm
    return algorithm


def algorithm_named(name: str) -> Algorithm:
    """The registered algorithm, or that of a file, ``FILE.py:NAME``; else one sentence that names the nearest."""
    file, found, own = name.rpartition(".py:")
    if found:
        return _from_file(Path(file + ".py"), own)
    if name not in ALGORITHMS:
        near = difflib.get_close_matches(name, ALGORITHMS, n=1, cutoff=0.0)
        raise InputError(f"no algorithm {name!r}; did you mean {near[0]!r}? Known: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


@functools.cache
def _from_file(path: Path, name: str) -> Algorithm:
    """The algorithm that a file defines, or registers, under ``name``. The file runs in this process."""
    spec = importlib.util.spec_from_file_location(f"custodes_algorithm_{path.stem}", path)
    try:
        if spec is None or spec.loader is None:
            raise OSError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # anything can go wrong in a person's file
        raise InputError(f"algorithm {path} cannot be run ({type(error).__name__}: {error}); mend it.") from None
    defined = {n: v for n, v in vars(module).items() if isinstance(v, Algorithm)}
    algorithm = defined.get(name, ALGORITHMS.get(name))
    if algorithm is None:
        near = difflib.get_close_matches(name, defined, n=1, cutoff=0.0)
        raise InputError(f"algorithm {path} has no Algorithm {name!r}; write {path}:{near[0] if near else 'NAME'}.")
    return algorithm


@functools.cache
def own_options(name: str, given: tuple[str, ...]) -> Any:
    """The algorithm's own options from NAME=VALUE words; None where it has none. Raises InputError for a wrong one."""
    from pydantic import TypeAdapter, ValidationError

    kind = algorithm_named(name).options
    hints = {} if kind is None else get_type_hints(kind)
    values = {}
    for word in given:
        option, equals, text = word.partition("=")
        if not equals or option not in hints:
            listed = f"it has {', '.join(f'{n}=...' for n in hints)}" if hints else "it has none of its own"
            raise InputError(f"algorithm {name} has no option {word!r}; {listed}.")
        try:
            values[option] = TypeAdapter(hints[option]).validate_python(text)
        except ValidationError as error:
            what = error.errors()[0]["msg"].replace("Input should", "it should")
            raise InputError(f"option {option} of algorithm {name} is {text!r}; {what}.") from None
    if kind is None:
        return None
    options = kind(**values)
    check_ranges(options)
    return options


def _clipped(actions: Actions, config: OptimiseConfig) -> Tensor:
    high = config.clip if config.clip_high is None else config.clip_high
    return clipped_policy_loss(actions.logprobs, actions.old, actions.advantages, config.clip, high)


def _likelihood(actions: Actions, config: OptimiseConfig) -> Tensor:
    return supervised_loss(actions.logprobs)


def _gae(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
    assert outcomes.values is not None
    rewards, mask = outcomes.rewards - outcomes.penalty, outcomes.mask
    advantages, returns = adv.gae(rewards, outcomes.values, mask, config.gamma, config.lam)
    # where nothing scored differently, unit variance would be made of the KL and of the value function's errors alone
    scale = adv.centre if outcomes.alike() else adv.whiten
    return scale(advantages, mask), returns


def _reinforce_pp(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
    mask = outcomes.mask
    scored, charged = (adv.returns_to_go(x, mask, config.gamma) for x in (outcomes.rewards, outcomes.penalty))
    return adv.whiten(scored, mask) - adv.centre(charged, mask), None


def _per_episode(function: Callable[[Tensor, Tensor], Tensor]):
    """An advantage of whole episodes: ``function`` of scores and groups, minus the KL against the group's other episodes."""

    def advantages(outcomes: Outcomes, config: OptimiseConfig) -> tuple[Tensor, Tensor | None]:
        scored = function(outcomes.totals(), outcomes.groups)
        charged = adv.rloo(outcomes.penalties(), outcomes.groups)
        return adv.broadcast(scored - charged, outcomes.mask), None

    return advantages


def _alike(totals: Tensor, groups: Tensor) -> Tensor:
    """(B,) ones: what was selected is imitated, none of it more than the rest."""
    return totals.new_ones(len(totals))


register(Algorithm("ppo", _gae, _clipped, "arXiv 1707.06347, 2009.01325", needs_value=True))
register(Algorithm("grpo", _per_episode(adv.grpo), _clipped, "arXiv 2402.03300", needs_groups=True))
register(
    Algorithm("dr_grpo", _per_episode(adv.dr_grpo), _clipped, "arXiv 2503.20783", needs_groups=True, by_constant=True)
)
register(Algorithm("rloo", _per_episode(adv.rloo), _clipped, "arXiv 2402.14740", needs_groups=True))
register(Algorithm("reinforce_pp", _reinforce_pp, _clipped, "arXiv 2501.03262"))
register(
    Algorithm(
        "expert_iteration",
        _per_episode(_alike),
        _likelihood,
        "arXiv 1705.08439, 2304.06767",
        select=adv.best_of_group,
        needs_groups=True,
    )
)
register(
    Algorithm("all_successes", _per_episode(_alike), _likelihood, "arXiv 2406.10162", select=adv.successes),
)
