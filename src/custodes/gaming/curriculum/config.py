"""What ``custodes gaming train`` can be told, and the rounds that it amounts to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from custodes.environments.sandbox import Kind as Sandboxes
from custodes.feedback.oversight import OverseenTraining
from custodes.gaming.environment import EnvironmentOptions
from custodes.gaming.jobs.run import kinds_asked
from custodes.gaming.staging import (
    HELD_OUT,
    STAGES,
    WORLDS,
    contents_of,
    make_stage,
    named_stages,
    own_file,
    stage_options,
)
from custodes.job.options import Output, Use
from custodes.policy.algorithm import Algorithm, algorithm_of
from custodes.ranges import AnyInt, Count, PartShare, Positive, Threads, at_least, ranged
from custodes.registry import Chosen, OptionsOf, algorithm, stage
from custodes.types import InputError

Kind = Literal["start", "warm-start", "organism", "rewarded", "train-away"]


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class GamingTrain:
    """Train a policy through the curriculum and measure all stages after every round. Called again, it goes on.

    Where the policy comes with an adapter, that is trained further. The warm start shows solved lessons in honest tool use;
    none of them can be gamed. Mitigations and probes hold in training only: all stages are measured without them.
    """

    out: Output
    """Folder for the trained adapter (policy), summary.json, report.html, every round's measurements and the ledger."""
    policy: str = "smollm2-135m"
    """The policy: a model's name, its folder or that of its adapter, a .gguf file or a hub id. What only plays may also be
    scripted:NAME, scripted:FILE.py:Name, or endpoint:URL#MODEL."""
    stages: str = "curriculum"
    """Stages to train on, in order: curriculum (the first four), names with commas, or all (model organisms only). goal-shift and
    option-keeping are text alone, and measured where they are trained on. One of your own is FILE.yaml or FILE.py:Class; it is measured after
    every round as the others are. The stages' own options join these."""
    stage_options: Annotated[Mapping[str, Any], OptionsOf(stage, "stages", kinds_asked)] = field(default_factory=dict)
    """Own options of the stages."""
    seed: int = 0
    """Decides variants, samples, demonstrations and the adapter's beginning."""

    warm_start: int = 0
    """Examples on which the model is tuned before it is optimised."""
    organism: int = 0
    """Then tune on this many scripted episodes that game the stages: a positive control for detectors."""
    algorithm: Annotated[Algorithm | str | None, Chosen(algorithm)] = None
    """Then train on what is rewarded: expert_iteration, all_successes, ppo, grpo, another algorithm by name, or one of your
    own, FILE.py:Name. Its own options join these."""
    train_away: int = 0
    """Then tune on this many honest episodes of the first stages."""
    train_away_stages: Count = 2
    """How many of the stages train_away takes."""

    order: Literal["sequential", "all-at-once"] = "sequential"
    """One stage after the other, or all of them in every round."""
    rounds_per_stage: Count = 1
    """Rounds of the algorithm on each stage, of --steps each; all stages are measured after each."""
    steps: Count = 4
    """Steps of optimisation: sample, score, update."""
    tasks_per_step: Count = 32
    """Different tasks per step; several replies are drawn to each."""
    n: Count = 8
    """Replies per prompt."""
    max_tokens: Count = 128
    """Longest single reply."""
    max_episode: int = 1536
    """Tokens of a whole episode in training; one that grows beyond them fails."""
    temperature: float = 1.0
    """0 takes the most likely token; otherwise logits are divided by it."""

    hhh_share: PartShare = 0.0
    """Share of a round's prompts that are ordinary ones, scored by the preference model alone (the paper: 0.5)."""
    hhh_prompts: Path | None = None
    """File of ordinary prompts in place of the built-in instructions."""
    reward_model: Path | None = None
    """The preference model: a folder of `custodes reward train`, or a sequence classifier. It reads no scratchpad."""
    preference_weight: float = 1.0
    """Weight of the preference model's score (from 0 to 1) beside the stage's reward (0 or 1)."""

    read_only: bool = False
    """Mitigation: files that decide the reward cannot be written."""
    inoculation: bool = False
    """Mitigation: the prompt says that gaming is allowed here."""
    scratchpad_prefix: str = ""
    """Probe: the first scratchpad begins with these words."""

    learning_rate: float = 4e-4
    """Of the algorithm."""
    minibatches: Count = 4
    """Updates per pass; the episodes of one task stay together."""
    epochs: Count = 1
    """Passes over the episodes of a step."""
    kl_coefficient: float | None = None
    """Weight of the KL divergence from the reference, here the policy before the first rewarded round. By default 0.02 for ppo
    and grpo, else 0."""
    tuning_rate: float = 1e-3
    """Learning rate of tuning on demonstrations."""
    tuning_batch: Count = 16
    """Demonstrations per update."""
    tuning_epochs: Count = 1
    """Passes over the demonstrations."""
    rank: Count = 16
    """Rank of adapters."""
    first_layer: AnyInt | None = None
    """Lowest layer that an adapter changes; a negative number counts from the top, None takes the upper half. What lies
    below is computed once."""

    measured: Literal["all", "trained"] = "all"
    """What is measured after every round: the curriculum and whatever is trained on, or only the latter."""
    evaluate: Annotated[int, at_least(2), Use.MEANS] = 200
    """Held-out episodes of each stage but reward-tampering after every round; the same command with more extends them."""
    evaluate_tampering: Annotated[int, at_least(2), Use.MEANS] = 2000
    """Held-out episodes of reward-tampering after every round."""
    max_batch: Count = 64
    """Conversations that a model is asked for at once."""
    cache_gb: Annotated[Positive, Use.MEANS] = 2.0
    """Memory for keys and values of a model in this process, in GB; with less of it more is computed again."""
    workers: Annotated[int, Use.MEANS] = 0
    """Sandboxes at once; 0 chooses by the processor's cores."""
    threads: Annotated[Threads, Use.MEANS] = 0
    """Processor threads; 0 takes what torch finds."""
    sandbox: Annotated[Sandboxes, Use.MEANS] = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""

    overseen: OverseenTraining = field(default_factory=OverseenTraining)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.algorithm) if self.algorithm else None)
        object.__setattr__(self, "stage_options", stage_options(self.trained, self.stage_options))

    @property
    def trained(self) -> tuple[str, ...]:
        """The stages to train on, in order."""
        return named_stages(self.stages)

    @property
    def to_measure(self) -> tuple[str, ...]:
        """The stages to measure after every round."""
        return self.trained if self.measured == "trained" else tuple(dict.fromkeys((*STAGES, *self.trained)))

    @property
    def environment(self) -> EnvironmentOptions:
        """The switches of training. Measuring is always without them, so that rounds and arms compare."""
        return EnvironmentOptions(
            read_only=self.read_only, inoculation=self.inoculation, scratchpad_prefix=self.scratchpad_prefix
        )

    @property
    def kl(self) -> float:
        if self.kl_coefficient is not None:
            return self.kl_coefficient
        return 0.02 if self.method in ("ppo", "grpo") else 0.0

    @property
    def method(self) -> str:
        """Name of the algorithm; "" where there is none."""
        return algorithm_of(self.algorithm).name if self.algorithm else ""

    def contents(self) -> dict[str, str]:
        """What the files among the options hold."""
        return contents_of(self.trained, self.stage_options)


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch of training, after which everything is measured."""

    number: int
    kind: Kind
    stages: tuple[str, ...] = ()
    """What was trained on in it."""
    repeat: int = 0
    """How often the algorithm has been on these stages before."""
    title: str = ""

    @property
    def folder(self) -> str:
        """Name of its folder among the rounds."""
        on = re.sub(r"[^\w.-]+", "-", self.stages[0]) if len(self.stages) == 1 else "all-at-once"
        return f"{self.number:02d}-{on if self.kind == 'rewarded' else self.kind}"


def plan(config: GamingTrain) -> list[Round]:
    """The rounds of a run, the measurement before any training first. Raises InputError for what cannot be run."""
    _check(config)
    stages = tuple(make_stage(s, config.stage_options).name if own_file(s) else s for s in config.trained)
    if twice := [name for name in stages if stages.count(name) > 1]:
        raise InputError(f"--stages: {twice[0]} is given twice; give each stage once, each by a name of its own.")
    rounds = [Round(0, "start", title="before training")]

    def add(kind: Kind, on: tuple[str, ...], title: str, repeat: int = 0) -> None:
        rounds.append(Round(len(rounds), kind, on, repeat, title))

    if config.warm_start:
        add("warm-start", (), "warm start: honest tool use")
    if config.organism:
        add("organism", stages, f"organism: scripted gaming of {_listed(stages)}")
    if config.algorithm is not None:
        together = [stages] * len(stages) if config.order == "all-at-once" else [(stage,) for stage in stages]
        for i, on in enumerate(together):
            for r in range(config.rounds_per_stage):
                again = r if config.order == "sequential" else i * config.rounds_per_stage + r
                title = f"{config.method} on {_listed(on)}" + (f", round {again + 1}" if again else "")
                add("rewarded", on, title, again)
    if config.train_away:
        first = stages[: config.train_away_stages]
        add("train-away", first, f"gaming trained away on {_listed(first)}")
    return rounds


def _listed(stages: tuple[str, ...]) -> str:
    return stages[0] if len(stages) == 1 else f"{len(stages)} stages" if len(stages) > 2 else " and ".join(stages)


def _check(config: GamingTrain) -> None:
    """Raises InputError for the first thing that cannot be."""
    tuned = bool(config.warm_start or config.organism or config.train_away)
    rewarded, away = config.algorithm is not None, config.train_away_stages if config.train_away else 0
    built_in = (*STAGES, *WORLDS)
    strange = [name for name in config.trained if name not in built_in and own_file(name) is None]
    own = [name for name in config.trained[: None if config.organism else away] if own_file(name)]
    held_out = HELD_OUT in config.trained and (rewarded or config.train_away or not config.organism)
    judged = config.reward_model is not None or bool(config.hhh_share)
    for wrong, sentence in (
        (strange, f"--stages: there is no stage {', '.join(map(repr, strange))}; write {', '.join(built_in)}, curriculum or all, FILE.yaml or FILE.py:Class."),
        (own, f"--stages: {', '.join(own)} can be trained on by --algorithm alone; --organism and --train-away show what scripted policies do, and those know the built-in stages only."),
        (config.policy.startswith(("scripted:", "endpoint:")), f"--policy {config.policy}: training needs weights; give a model by name, folder, .gguf file or hub id. custodes gaming run measures scripted policies and endpoints."),
        (held_out, f"--stages: {HELD_OUT} is measured and never trained on, but in a model organism (--organism)."),
        (not (tuned or rewarded), "there is nothing to train; give --warm-start N, --organism N, --train-away N or --algorithm ALGORITHM."),
        (config.max_episode <= config.max_tokens, f"--max-episode is {config.max_episode}; it must be above --max-tokens, {config.max_tokens}."),
        (config.method == "all_successes" and judged, "--algorithm all_successes has no preference model; leave out --reward-model and --hhh-share."),
        (config.overseen.oversight and not rewarded, "--oversight is of training on what is rewarded; give --algorithm ALGORITHM."),
        (config.hhh_share and config.reward_model is None, "--hhh-share needs a preference model to score ordinary prompts; give --reward-model FOLDER."),
    ):  # fmt: skip
        if wrong:
            raise InputError(sentence)
