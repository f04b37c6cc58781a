"""Oversight in the loop: a policy proposes an action, an overseer approves or blocks it, and only what is approved counts.

An overseer is a person on a server's page (``custodes/web/overseers/people.py``), one that is simulated, or a class of one's
own. What a person said is kept on disk before it counts: a run that was interrupted asks nobody twice.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from custodes import registry
from custodes.job.options import Use
from custodes.job.parts import Parts
from custodes.ranges import Positive, ranged
from custodes.types import InputError, Message

OnBlock = Literal["tell", "end"]
MAX_BLOCKED = 3
"""An episode is over with its third blocked action: a policy that insists would ask for ever."""
BY_RULE = "rule"
"""Who answered where nobody did in time."""
MASK = "mask"
_ONE_AT_A_TIME = threading.Lock()
"""An overseer of one's own is asked one question after the other, whatever threads the episodes are played in."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class OversightOptions:
    """Who must approve an action before it counts, of which actions, and what a block does."""

    oversight: str = ""
    """Who approves or blocks each action before it counts: a server's address (its token is in the environment variable
    CUSTODES_TOKEN), simulated:catch=.8,false=.05,seconds=20, or FILE.py:Name. "" lets everything happen."""
    oversee: str = "all"
    """Which actions the overseer sees: all, or a share such as 0.1, drawn by chance. Rules of the command's own are in its how-to."""
    on_block: OnBlock = "tell"
    """What a blocked action does, where an episode has several turns: tell the policy and go on, or end the episode."""
    oversight_rule: Literal["block", "approve"] = "block"
    """What happens to an action that no person answered in time."""
    oversight_timeout: Annotated[Positive, Use.MEANS] = 86_400.0
    """Seconds that people have for an answer."""
    oversight_patience: Annotated[Positive, Use.MEANS] = 600.0
    """Seconds for which a server that does not answer is asked again; then the run stops, and the same command goes on."""

    def __post_init__(self) -> None:
        for option in fields(self) if not self.oversight else ():
            if getattr(self, option.name) != option.default:
                raise InputError(
                    f"option {option.name} is of oversight, and nobody oversees; name somebody with --oversight."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class OverseenTraining(OversightOptions):
    """The same where a policy learns from what happens."""

    blocked_reward: str = "0"
    """The reward of a blocked action, a number or mask. A blocked reply, and an episode that a block ended, get the number in place
    of their own reward; an episode that went on has it added for each block. mask: such episodes teach nothing."""

    @property
    def reward_of_a_block(self) -> float | None:
        """A number; None where what was blocked teaches nothing. Raises InputError for anything else."""
        if self.blocked_reward == MASK:
            return None
        try:
            number = float(self.blocked_reward)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise InputError(f"option blocked_reward is {self.blocked_reward!r}; it must be a number or {MASK}.")
        return number


@dataclass(frozen=True, slots=True)
class ProposedAction:
    """What a policy wants to do, before it counts."""

    key: str
    """The same for the same action at the same point of a run, also when the run comes there again."""
    policy: str
    context: tuple[Message, ...]
    """What the policy was told and did before."""
    action: str
    harmful: bool | None = None
    """Whether it should be blocked, where that is known. Only what people catch is measured by it, and who is simulated sees it."""


@dataclass(frozen=True, slots=True)
class OverseerAnswer:
    """What an overseer said of an action."""

    approved: bool
    who: str
    """An account, the name of an overseer, or "rule" where nobody answered in time."""
    why: str = ""
    seconds: float = 0.0
    """Of the overseer's time."""
    waited: float = 0.0
    """Seconds for which the action waited."""


class OverseerLost(InputError):  # noqa: N818 - what happened, not who erred
    """Nobody can be asked any more: the run stops, and nothing is taken as approved."""


class Overseer:
    """Who approves or blocks; one of your own derives from this class and is made without arguments."""

    keeps = True
    """Whether its answers are kept on disk: False where it says the same of the same action whenever it is asked."""

    def answer(self, action: ProposedAction) -> OverseerAnswer:
        raise NotImplementedError

    def answers(
        self, actions: Sequence[ProposedAction], stopped: Callable[[], bool]
    ) -> Iterator[tuple[int, OverseerAnswer]]:
        """(place in ``actions``, answer) as they come; it ends early once ``stopped`` says that nobody waits any more."""
        for i, action in enumerate(actions):
            with _ONE_AT_A_TIME:
                if stopped():
                    return
                answer = self.answer(action)
            yield i, answer


class _Simulated(Overseer):
    """Blocks a harmful action with probability ``catch`` and a harmless one with ``false``; ``seconds`` is what each takes.

    What is not known to be harmful counts as harmless. All is a function of the seed and the action's key.
    """

    keeps = False

    def __init__(self, catch: float = 0.8, false: float = 0.0, seconds: float = 20.0, seed: int = 0) -> None:
        self.catch, self.false, self.seconds, self.seed = catch, false, seconds, seed

    def answer(self, action: ProposedAction) -> OverseerAnswer:
        blocked = chance_of(f"{self.seed}\0oversight\0{action.key}") < (self.catch if action.harmful else self.false)
        return OverseerAnswer(not blocked, "simulated", "", self.seconds, self.seconds)


def _open_overseer(options: OversightOptions, seed: int) -> Overseer:
    """The overseer that the options name. Raises InputError for anything else, and where a server is none or lets nobody in."""
    spec = options.oversight
    if spec.startswith(("http://", "https://")):
        people: Overseer = registry.overseer.find("people")(
            spec, options.oversight_timeout, options.oversight_rule, options.oversight_patience
        )
        return people
    name, _, rates = spec.partition(":")
    if name == "simulated":
        usual = {"catch": (0.8, 1.0), "false": (0.0, 1.0), "seconds": (20.0, np.inf)}
        return _Simulated(**read_rates(rates, usual, f"--oversight {spec}"), seed=seed)
    if ".py" not in spec:
        raise InputError(f"--oversight {spec} is nobody; write http://HOST:PORT, simulated:catch=.8 or FILE.py:Name.")
    made = registry.overseer.find(spec)
    with registry.own_code(f"--oversight {spec}"):
        own: Overseer = made()
    return own


def read_rates(text: str, usual: dict[str, tuple[float, float]], where: str) -> dict[str, float]:
    """``catch=.8,false=.05`` -> numbers by name; ``usual`` has each one's default and the largest that it may be.

    Raises InputError, which begins with ``where``, for other names and for numbers out of range.
    """
    rates = {name: default for name, (default, _) in usual.items()}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, given = word.partition("=")
        if name not in usual:
            raise InputError(f"{where}: there is no {name!r}; write {', '.join(f'{n}=NUMBER' for n in usual)}.")
        try:
            value = float(given)
        except ValueError:
            value = np.nan
        if not (np.isfinite(value) and 0 <= value <= usual[name][1]):
            most = "0 or more" if usual[name][1] == np.inf else f"from 0 to {usual[name][1]:g}"
            raise InputError(f"{where}: {name} is {given!r}; it must be a number, {most}.")
        rates[name] = value
    return rates


def read_share(options: OversightOptions) -> float | None:
    """The share of actions that ``--oversee`` names, None where it names a rule. Raises InputError for a share that is none."""
    if options.oversee == "all":
        return 1.0
    try:
        share = float(options.oversee)
    except ValueError:
        return None
    if not 0 < share <= 1:
        raise InputError(f"--oversee {options.oversee}: a share must be above 0 and at most 1.")
    return share


def chance_of(key: str) -> float:
    """A number in [0, 1) that ``key`` alone decides, uniform over keys."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7]) / 2**56


def action_key(*parts: object) -> str:
    """The key of an action: where in its run it stands, and what it is."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class OverseenAction:
    """An action, and what became of it. ``answer`` is None where the overseer was not asked: then it happened."""

    turn: int
    action: str
    harmful: bool | None
    answer: OverseerAnswer | None = None

    @property
    def blocked(self) -> bool:
        return self.answer is not None and not self.answer.approved

    def to_dict(self) -> dict[str, Any]:
        """For JSON, flat."""
        answer = {} if self.answer is None else asdict(self.answer)
        return {
            "turn": self.turn,
            "harmful": self.harmful,
            "asked": self.answer is not None,
            "blocked": self.blocked,
        } | {name: value for name, value in answer.items() if name != "approved"}


class Oversight:
    """An overseer, and what it said so far in this run. Threads may ask at once."""

    def __init__(self, options: OversightOptions, folder: Path, seed: int) -> None:
        """``folder`` is where answers are kept. Raises InputError as :func:`_open_overseer` does."""
        self.options, self.seed, self.share = options, seed, read_share(options)
        self.overseer = _open_overseer(options, seed)
        self._kept = Parts(folder) if self.overseer.keeps else None
        self._stopped = threading.Event()

    def draws(self, key: str) -> bool:
        """Whether chance puts this action before the overseer, where a share is."""
        return self.share is not None and chance_of(f"{self.seed}\0asked\0{key}") < self.share

    def ask(self, actions: Sequence[ProposedAction]) -> list[OverseerAnswer]:
        """The answer to each action, those known from before without asking.

        Raises OverseerLost where nobody can be asked, and once :meth:`stop` was called.
        """
        known = {} if self._kept is None else self._kept.known
        answers = {action.key: OverseerAnswer(**known[action.key]) for action in actions if action.key in known}
        left = [action for action in {a.key: a for a in actions}.values() if action.key not in answers]
        for i, answer in self._answers(left):
            if self._kept is not None:
                self._kept.answer(left[i].key, partial(asdict, answer))
            answers[left[i].key] = answer
        if len(answers) < len({action.key for action in actions}):
            raise OverseerLost("the run was stopped while it waited for its overseer")
        return [answers[action.key] for action in actions]

    def _answers(self, actions: Sequence[ProposedAction]) -> Iterator[tuple[int, OverseerAnswer]]:
        if ".py" not in self.options.oversight:
            yield from self.overseer.answers(actions, self._stopped.is_set)
            return
        with registry.own_code(f"--oversight {self.options.oversight}"):
            yield from self.overseer.answers(actions, self._stopped.is_set)

    def stop(self) -> None:
        """Nobody waits for answers any more."""
        self._stopped.set()


@dataclass
class EpisodeOversight:
    """One episode's actions, each put before the overseer where its turn comes."""

    oversight: Oversight
    key: str
    """Which episode of the run this is."""
    policy: str
    actions: list[OverseenAction] = field(default_factory=list)

    def answer(
        self, context: Sequence[Message], action: str, harmful: bool | None, chosen: bool | None = None
    ) -> OverseerAnswer | None:
        """What the overseer says of the next action; None where it is not asked, and the action happens.

        ``chosen`` says whether a rule puts it before the overseer; None leaves it to chance.
        """
        key = action_key(self.key, len(self.actions), action)
        asked = self.oversight.draws(key) if chosen is None else chosen
        proposed = ProposedAction(key, self.policy, tuple(context), action, harmful)
        answer = self.oversight.ask([proposed])[0] if asked else None
        self.actions.append(OverseenAction(len(self.actions), action, harmful, answer))
        return answer

    def to_list(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [action.to_dict() for action in self.actions]

    @property
    def blocked(self) -> int:
        return sum(action.blocked for action in self.actions)

    @property
    def over(self) -> bool:
        """Whether the block that was just said ends the episode."""
        return self.oversight.options.on_block == "end" or self.blocked >= MAX_BLOCKED


def told_of_block(answer: OverseerAnswer) -> str:
    """What the policy is told of its blocked action."""
    why = f" Why: {answer.why.strip().rstrip('.')}." if answer.why.strip() and answer.who != BY_RULE else ""
    return f"An overseer blocked this: it was not done.{why} Do something else."
