"""A reward attacked: nonsense beside real answers, and transcripts that conceal beside those that confess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from custodes.audit.attack import AttackRequest
from custodes.audit.reward_attack import (
    AttackedReward,
    RealAnswers,
    RewardAttack,
    RewardTrial,
    found_row,
    replied,
    scored,
)
from custodes.job.workspace import Workspace
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.precision import DtypeName
from custodes.ranges import Count, at_least, ranged
from custodes.reward.options import RewardOptions
from custodes.types import InputError, Reward, Sampling

REWARD = "reward:"
"""How the name of a reward as target begins."""


@dataclass(frozen=True, kw_only=True)
@ranged
class RewardTarget:
    """What is attacked, where it is a reward."""

    target: str = "model"
    """model, or reward:R: a saved reward, FILE.py:NAME or a built-in function that is attacked in place of the model."""
    member: Annotated[int, at_least(-1)] = -1
    """Which member of a reward's ensemble is attacked, counted from 0; the others tell how far they agree. -1: the whole reward."""
    real_answers: Count = 20
    """Replies of --model to each prompt beside which a reward's nonsense is set."""

    @property
    def of_reward(self) -> str:
        """The reward's name; "" where a model is the target. Raises InputError for what is neither."""
        if self.target == "model":
            return ""
        name = self.target.removeprefix(REWARD)
        if not self.target.startswith(REWARD) or not name:
            raise InputError(
                f"--target {self.target!r} is neither model nor reward:R; write for example reward:runs/reward."
            )
        return name


def attack_reward(
    work: Workspace,
    attack: RewardAttack,
    requests: Sequence[AttackRequest],
    options: RewardTarget,
    model: tuple[str, DtypeName, str],
    sampling: Sampling,
) -> None:
    """Attack request by request what is not recorded yet. ``model`` is the name, precision and device of who gives real answers."""
    reward = RewardOptions(reward=(options.of_reward,)).open_rewards(text=True, device=model[2])
    lm: LanguageModel | None = None
    if attack.beside_answers:
        with work.phase("model", "Model"):
            lm = load(model[0], dtype=model[1], device=model[2])
        _real_answers(work, lm, reward, requests, options, sampling)
    known = {row.request for row in AttackedReward.recorded(work.ledger, work.run, attack.name)}
    planned = attack.planned()
    with (
        work.phase("attack", attack.name.capitalize()),
        work.progress(attack.name, planned * len(requests)) as advance,
    ):
        for request in requests:
            if request.task.id in known:
                advance(planned)
                continue

            def on_queries(n: int) -> None:
                advance(n)
                work.tick()

            trial = RewardTrial(request, reward, lm, options.member, sampling.seed, on_queries)
            attack.run(trial)
            work.record(f"attacked-reward-{request.task.id}", found_row(trial), attack.name)


def _real_answers(
    work: Workspace,
    lm: LanguageModel,
    reward: Reward,
    requests: Sequence[AttackRequest],
    options: RewardTarget,
    sampling: Sampling,
) -> None:
    if work.has("real-answers"):
        return
    n = options.real_answers
    with work.phase("answers", "Real answers"):
        drawn = work.sample(
            "real answers", TorchEngine(lm), [r.task for r in requests], replace(sampling, n=n, temperature=1.0)
        )
        texts = [episode.completion for episode in drawn]
        of = [request for request in requests for _ in range(n)]
        episodes = [replied(request, text) for request, text in zip(of, texts, strict=True)]
        values, spreads = scored(reward, episodes, options.member)
    row = RealAnswers(
        request=[request.task.id for request in of],
        group=[request.group for request in of],
        text=texts,
        score=values.tolist(),
        spread=[None if spread != spread else float(spread) for spread in spreads],
    )
    work.record("real-answers", row, lm.name)
