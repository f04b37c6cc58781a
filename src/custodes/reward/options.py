"""From the words of a command line to one reward: saved models, Python functions, judges with a rubric, and mixtures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from custodes import registry
from custodes.feedback.rubric import load_rubric
from custodes.job.options import Use
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.ranges import Positive, ranged
from custodes.reward.aggregate import Aggregate, GroupAggregate
from custodes.reward.base import Mixture
from custodes.reward.function_reward import FunctionReward
from custodes.reward.model import RewardModel
from custodes.reward.parts import PartWeights
from custodes.reward.rubric import RubricReward
from custodes.reward.rubric_weights import JUDGE, load_rubric_reward
from custodes.reward.storage import load_reward
from custodes.types import InputError, Reward


@dataclass(frozen=True, kw_only=True)
@ranged
class RewardOptions:
    """What replies are scored with, for every command that scores some."""

    reward: tuple[str, ...] = ()
    """A saved reward (folder or hub id), a Python function FILE.py:NAME, a built-in function (numeric_answer), or a judge
    endpoint:URL#MODEL. Give several for a weighted sum."""
    weights: str = ""
    """Weights of the rewards, in their order or by name: 1,0.5 or helpful=1,short=0.5. Without: 1 each. Names may also be
    those of a reward's parts, truthful=1,harmless=0.5; what is not named then weighs nothing."""
    aggregate: str = ""
    """One reward from a reward model with groups: mean, maxmin (the group that is worst off), quantile:0.1 (of the annotators), or
    group:2. Each group's reward is centred and scaled on the base policy's replies."""
    rubric: Path | None = None
    """YAML file with the principles by which a judge grades."""
    reward_timeout: Annotated[Positive, Use.MEANS] = 600.0
    """Seconds that a Python function may take for the replies of one step."""

    def open_rewards(
        self,
        *,
        text: bool = False,
        device: str = "cpu",
        known: Mapping[str, Reward] | None = None,
        constrained: Sequence[str] = (),
    ) -> Reward:
        """One reward of them all.

        Args:
            text: whether Python functions receive text in place of messages, as TRL gives it for prompts that are text.
            device: where saved rewards compute.
            known: rewards that are made already, by the words that name them.
            constrained: names of rewards that weigh nothing unless a weight says otherwise, since they are only to keep a bound.

        Raises InputError for a reward that cannot be opened, and for weights that do not fit.
        """
        if not self.reward:
            raise InputError("nothing to score replies with; give --reward, for example --reward FILE.py:NAME.")
        opened = [(known or {}).get(spec) or self._open(spec, text, device) for spec in self.reward]
        names = [getattr(reward, "name", type(reward).__name__) for reward in opened]
        only = opened[0]
        if self.aggregate:
            aggregate = Aggregate.read(self.aggregate)
            if len(opened) > 1 or self.weights or not isinstance(only, RewardModel):
                raise InputError(
                    f"--aggregate {self.aggregate} makes one reward of a reward model's groups; give that one with --reward, and "
                    "no --weights."
                )
            return GroupAggregate(only, aggregate)
        if len(opened) == 1 and isinstance(only, RewardModel) and len(only.outputs) > 1 and self.weights:
            of_axes = _read_weights(self.weights, list(only.outputs), [0.0] * len(only.outputs), "axes")
            return only.weighted({axis: weight for axis, weight in zip(only.outputs, of_axes, strict=True) if weight})
        if parts := _part_weights(self.weights, names, opened):
            return PartWeights(Mixture(list(zip(names, opened, [1.0] * len(names), strict=True))), parts)
        weights = _read_weights(self.weights, names, [0.0 if name in constrained else 1.0 for name in names])
        if not any(weights):
            raise InputError("every reward weighs 0, so no reply is worth more than another; give one a weight.")
        if len(opened) == 1 and weights == [1.0]:
            return opened[0]
        return Mixture(list(zip(names, opened, weights, strict=True)))

    def python_files(self) -> list[Path]:
        """The files of Python functions among the rewards."""
        return [Path(spec.removeprefix("py:").rpartition(".py")[0] + ".py") for spec in self.reward if _is_python(spec)]

    def _open(self, spec: str, text: bool, device: str) -> Reward:
        if spec.startswith(ENDPOINT):
            if self.rubric is None:
                raise InputError(
                    f"--reward {spec} is a judge; give the principles that it grades by with --rubric FILE.yaml."
                )
            rubric = load_rubric(self.rubric)
            return RubricReward(open_endpoint(spec, "--reward"), rubric, rubric.name)
        if (Path(spec) / JUDGE).is_file():
            return load_rubric_reward(Path(spec), device)
        if not _is_python(spec) and (Path(spec).is_dir() or "/" in spec):
            return load_reward(spec, device=device)
        try:
            plugin = registry.reward.find(spec)
        except InputError as error:
            raise error if _is_python(spec) else InputError(f"{spec} is no folder, and {error}") from None
        if isinstance(plugin, type):
            plugin = plugin()
        if isinstance(plugin, Reward):
            return plugin
        if callable(plugin):
            return FunctionReward(plugin, text=text, seconds=self.reward_timeout)
        raise InputError(
            f"reward {spec} is {type(plugin).__name__}; it must be a function with TRL's signature or a reward."
        )


def _is_python(spec: str) -> bool:
    return spec.endswith(".py") or ".py:" in spec


def _part_weights(text: str, names: list[str], rewards: Sequence[Reward]) -> dict[str, float]:
    """``name=0.5,...`` where a name is none of the rewards', so that it must be a part of one; empty where none is."""
    words = [word.rpartition("=") for word in text.split(",") if "=" in word]
    given = [name.strip() for name, _, _ in words]
    if set(given) <= set(names) or all(isinstance(reward, FunctionReward) for reward in rewards):
        return {}
    return dict(zip(given, _read_weights(text, given, [1.0] * len(given)), strict=True))


def _read_weights(text: str, names: list[str], usual: list[float], what: str = "rewards") -> list[float]:
    """``1,0.5`` in the order of ``names``, or ``name=0.5,...`` for some of them; the others' are the usual ones."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    pairs = [word.rpartition("=") for word in words]
    by_name = {name.strip(): value for name, equals, value in pairs if equals}
    if not words:
        return usual
    if by_name and (len(by_name) < len(words) or not by_name.keys() <= set(names)):
        raise InputError(f"--weights {text}: write numbers, or NAME=NUMBER with names of {', '.join(names)}.")
    if not by_name and len(words) != len(names):
        raise InputError(f"--weights {text} are {len(words)} numbers for {len(names)} {what}; give one for each.")
    try:
        weights = (
            [float(by_name.get(name, w)) for name, w in zip(names, usual, strict=True)]
            if by_name
            else list(map(float, words))
        )
    except ValueError:
        weights = [math.nan]
    if not all(map(math.isfinite, weights)):
        raise InputError(f"--weights {text}: each weight must be a finite number.")
    return weights
