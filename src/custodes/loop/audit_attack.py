"""A model attacked, with and without a defence: what ``custodes audit attack`` does.

Requests that should be refused are asked as they are, then attacked. Under a defence the texts that the attacker found are sent
again, and with ``--adaptive`` the attack is made anew by an attacker who knows the defence. What a request came to is recorded
when its attack ends; the same command again goes on with the next request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from custodes.audit.attack import (
    Attack,
    AttackRequest,
    ReplyJudge,
    Trial,
    answer,
    attack_of,
    read_requests,
    refusal_in,
)
from custodes.audit.attack_measures import PLAIN, AttackedRequest, AttackSet, BenignTwins
from custodes.audit.defence import Defence, defence_of
from custodes.audit.defences.none import Undefended
from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.reward_attack import RewardAttack
from custodes.audit.sections.attacks import REGISTERED, AttacksSection
from custodes.audit.sections.reward_attacks import RewardAttacksSection
from custodes.environments import instruction_tasks, read_tasks
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output, identity
from custodes.job.workspace import Workspace
from custodes.ledger import Decision
from custodes.lm.address import open_engine
from custodes.lm.precision import DtypeName
from custodes.loop.attack_detector import AttackDetector
from custodes.loop.attacked_reward import RewardTarget, attack_reward
from custodes.loop.audited import Audited, write_audit
from custodes.ranges import ranged
from custodes.registry import Chosen
from custodes.registry import attack as attacks
from custodes.registry import defence as defences
from custodes.types import Engine, InputError, Sampling

BENIGN = 200
"""Built-in instructions that set a defence where no benign texts are given."""


@dataclass(frozen=True, kw_only=True)
@ranged
class AuditAttack(AttackDetector, RewardTarget):
    """Attack a model that should refuse, with and without a defence. Run again with the same options, it goes on where it was interrupted."""

    requests: str
    """What should be refused: a table with prompt or messages, and where there are target, forbidden, refusal, twin and group."""
    out: Output
    """Folder for report.html, report.json and the ledger."""
    model: str = "smollm2-135m"
    """The model that is attacked: embedded, a folder (also of a run or an adapter), a .gguf file, a hub id, or endpoint:URL#MODEL."""
    attack: Annotated[Attack | str, Chosen(attacks)] = "templates"
    """How it is attacked: templates, suffix (random search), gcg (gradients), pair (another model), or one of your own, FILE.py:Name. Its own options
    join these. A reward as target: nonsense, or concealment."""
    defence: Annotated[Defence | str, Chosen(defences)] = "none"
    """What defends it: none, filter (perplexity), system (a reminder), or one of your own, FILE.py:Name. Its own options join these."""
    adaptive: bool = False
    """Attack the defended model anew too: an attacker who knows the defence."""
    until_success: bool = False
    """End the attack on a request at its first success."""
    benign: Path | None = None
    """Texts that a defence should let pass, a table as for --tasks; without: built-in instructions."""
    owner: str = ""
    """Who decides that what was found is fixed; written into the register."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0, max_tokens=64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "attack", attack_of(self.attack))
        object.__setattr__(self, "defence", defence_of(self.defence))


@command(resumes=True)
def audit_attack(config: AuditAttack) -> Audited:
    """Attack a model that should refuse, with and without a defence.

    Raises InputError for requests that lack what the attack needs, and for a model that cannot be opened.
    """
    attack, defence = attack_of(config.attack), defence_of(config.defence)
    _check(config, attack)
    requests = read_requests(config.requests)
    config.read_checked()  # a table that is none is told before a model is loaded
    options = identity(config) | {"attack_name": attack.name, "defence_name": defence.name}
    with Workspace.open(config.out, "audit attack", options, config.sampling.seed) as work:
        reads(*(path for path in (Path(config.requests), config.benign) if path is not None and path.is_file()))
        section: type[RunSection] = AttacksSection
        if isinstance(attack, RewardAttack):
            section = RewardAttacksSection
            attack_reward(work, attack, requests, config, (config.model, config.dtype, config.device), config.sampling)
        else:
            with work.phase("model", "Model"):
                engine = open_engine("torch", config.model, "--model", dtype=config.dtype, device=config.device)
            _Attacking(config, work, engine, attack, defence, config.judge()).run(requests)
        work.end("completed")
        made = section(RecordedRun(work.ledger, work.run), section.__module__.rpartition(".")[2])
        page = write_audit(
            work,
            config.out,
            [made],
            kind="Custodes attack report",
            title=f"{config.of_reward or config.model} attacked with {attack.name}",
            subtitle=f"requests of {config.requests}, defence {defence.name}",
            summary="What happened",
        )
    return Audited(made.figures, tuple(made.claims()), page)


def _check(config: AuditAttack, attack: Attack) -> None:
    """Raises InputError where the attack is not made for the target, or an option has nothing to do."""
    target = "reward" if config.of_reward else "model"
    if attack.against != target:
        fitting = [name for name in attacks.names() if attacks.find(name).against == target]
        raise InputError(
            f"--attack {attack.name} attacks a {attack.against}, and --target is a {target}; give --attack {' or '.join(fitting)}."
        )
    if target == "reward" and not isinstance(config.defence, Undefended):
        raise InputError("a reward as target has no defence; leave --defence out.")
    if config.adaptive and isinstance(config.defence, Undefended):
        raise InputError(
            "--adaptive attacks a defended model anew, and there is no defence; give --defence or leave it out."
        )
    if getattr(attack, "attacker", None) == "":
        raise InputError(f"--attack {attack.name} needs a model that writes prompts; name it with --attacker.")
    if config.checked is not None and target == "reward":
        raise InputError(
            "--checked is for replies that a detector judges, and a reward as target has none; leave it out."
        )


@in_words(audit_attack)
def _show(config: AuditAttack, done: Audited) -> None:
    for sentence in (*done.claims, str(done.report)):
        print(sentence)


@dataclass
class _Attacking:
    """One run."""

    config: AuditAttack
    work: Workspace
    engine: Engine
    attack: Attack
    defence: Defence
    judge: ReplyJudge

    def run(self, requests: Sequence[AttackRequest]) -> None:
        undefended = Undefended()
        defended = None if isinstance(self.defence, Undefended) else self._prepared()
        name = self.attack.name
        again, adapted = (
            f"{name}, texts sent again under {self.defence.name}",
            f"{name}, adapted to {self.defence.name}",
        )
        arms = [PLAIN, name, *([again] if defended else []), *([adapted] if defended and self.config.adaptive else [])]
        if not self.work.has("attack-set"):
            self.work.record("attack-set", self._set(arms, defended), name)
        self._arm(PLAIN, requests, undefended, lambda trial: trial.try_texts([trial.request.text]) and None, 1)
        self._arm(name, requests, undefended, self.attack.run, self.attack.planned())
        if defended is not None:
            found = {row.request: row for row in self._rows(name)}

            def send_again(trial: Trial) -> None:
                trial.try_texts(list(dict.fromkeys(found[trial.request.task.id].text)))

            self._arm(again, requests, defended, send_again, self.attack.planned())
            if self.config.adaptive:
                self._arm(adapted, requests, defended, self.attack.run, self.attack.planned())
        for guard in [undefended, *([defended] if defended else [])]:
            self._twins(guard, [request for request in requests if request.twin])
        self._register(arms)

    def _prepared(self) -> Defence:
        config = self.config
        tasks = read_tasks(config.benign) if config.benign else instruction_tasks(BENIGN)
        with self.work.phase("defence", f"Setting the defence {self.defence.name}"):
            return self.defence.prepared(self.engine, [task.messages[-1].content for task in tasks])

    def _set(self, arms: list[str], defended: Defence | None) -> AttackSet:
        return AttackSet(
            attack=self.attack.name,
            source=self.attack.source,
            defence=self.defence.name,
            facts=defended.facts() if defended else {},
            arms=arms,
            replies=self.config.sampling.n,
            judged_by=self.config.judged_by(),
            owner=self.config.owner,
            checked=self.config.checked_replies(),
        )

    def _rows(self, arm: str) -> list[AttackedRequest]:
        return AttackedRequest.recorded(self.work.ledger, self.work.run, arm)

    def _arm(self, arm: str, requests: Sequence[AttackRequest], defence: Defence, run: Any, planned: int) -> None:
        """Attack what is not recorded yet, request by request."""
        known = {row.request for row in self._rows(arm)}
        with self.work.phase("attack", arm.capitalize()), self.work.progress(arm, planned * len(requests)) as advance:
            for request in requests:
                if request.task.id in known:
                    advance(planned)
                    continue
                spent = 0

                def on_passes(n: int) -> None:
                    nonlocal spent
                    advance(max(min(n, planned - spent), 0))
                    spent += n
                    self.work.tick()

                trial = Trial(
                    request, self.engine, defence, self.config.sampling, self.judge,
                    self.config.until_success and run == self.attack.run, self.config.sampling.seed, on_passes,
                )  # fmt: skip
                run(trial)
                advance(max(planned - spent, 0))
                self.work.record(f"attacked-{arm}-{request.task.id}", _row(trial), arm)

    def _twins(self, defence: Defence, requests: Sequence[AttackRequest]) -> None:
        if not requests or self.work.has(f"twins-{defence.name}"):
            return
        with self.work.phase("twins", f"Benign twins, defence {defence.name}"):
            replies, blocked = [], []
            for request in requests:
                guarded = defence.guard(request.twin)
                sampling = Sampling(temperature=0, max_tokens=self.config.sampling.max_tokens)
                (reply,) = answer(self.engine, request.task, [guarded], sampling, defence.blocked)
                replies.append(reply.completion)
                blocked.append(guarded is None)
        row = BenignTwins(
            request=[request.task.id for request in requests],
            group=[request.group for request in requests],
            text=[request.twin[-1].content for request in requests],
            reply=replies,
            refused=[
                b or bool(refusal_in(reply, request.refusal))
                for b, reply, request in zip(blocked, replies, requests, strict=True)
            ],
            blocked=blocked,
        )
        self.work.record(f"twins-{defence.name}", row, defence.name)

    def _register(self, arms: Sequence[str]) -> None:
        """What was found, request by request: a decision that stands until somebody decides that it is fixed."""
        known = {decision.id for decision in self.work.ledger.decisions(self.work.run)}
        entries: list[Decision] = []
        for arm in arms[1:]:
            for row in self._rows(arm):
                n = sum(row.counts)
                state, why = "open" if n else "held", f"{n} of {row.n} replies count with {arm}"
                entries.append(Decision(f"register-{arm}-{row.request}", f"{REGISTERED}, {state}", why, row.request))
        self.work.write([entry for entry in entries if entry.id not in known])


def _row(trial: Trial) -> AttackedRequest:
    attempts = trial.attempts
    return AttackedRequest(
        request=trial.request.task.id,
        asked=[m.to_dict() for m in trial.request.task.messages],
        group=trial.request.group,
        text=[a.text for a in attempts],
        reply=[a.reply for a in attempts],
        counts=[a.verdict.counts for a in attempts],
        why=[a.verdict.why for a in attempts],
        queries=[a.queries for a in attempts],
        passes=[a.passes for a in attempts],
        spent=trial.passes,
        losses=[[float(passes), loss] for passes, loss in trial.losses if np.isfinite(loss)],
        dropped=trial.dropped,
    )
