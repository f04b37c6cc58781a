"""The nouns of Custodes. Learn these and every other file can be read.

Arrays are numpy so that reading a record never loads a deep-learning framework.
Letters: B episodes in a batch, T tokens of an episode (prompt included).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from custodes import registry
from custodes.errors import InputError as InputError
from custodes.ranges import Count, Range, ranged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["stop", "length", "error"]
AnnotatorKind = Literal["human", "ai", "simulated", "programmatic"]


@contextmanager
def located(where: str) -> Iterator[None]:
    """Within the block, an :class:`InputError` begins with ``where``: the file and row, or the task."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


# ---------------------------------------------------------------- what is asked and what was tried


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as in the Hugging Face conversational convention."""

    role: Role
    content: str

    def to_dict(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Task:
    """What a policy is asked.

    ``metadata`` is for graders and gold only: no policy, annotator screen or learned reward sees it.
    """

    id: str
    messages: tuple[Message, ...]
    environment: str = "prompts"
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """A policy's whole attempt at a task. A single-turn completion is an episode of one action.

    ``token_ids`` (T,) int32 holds prompt and replies; ``action_mask`` (T,) bool is true on tokens
    that the policy chose; ``logprobs`` (T,) float32, nats, are the sampler's own at the sampling
    temperature, 0 where the mask is false. ``outcome`` is "length" when the token limit cut it.
    Episodes that were imported or came from an endpoint without token ids have empty arrays.
    """

    id: str
    task: Task
    messages: tuple[Message, ...]  # the task's messages, then everything after them
    token_ids: NDArray[np.int32]
    action_mask: NDArray[np.bool_]
    logprobs: NDArray[np.float32]
    outcome: Outcome
    policy: str  # version of the policy that acted: name, or content hash of its weights
    cost: Mapping[str, float] = field(default_factory=dict)  # e.g. prompt_tokens, usd, seconds

    @classmethod
    def written(cls, id: str, task: Task, messages: tuple[Message, ...], policy: str) -> Episode:
        """An episode that is text alone: imported, or made by a person."""
        nothing = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
        return cls(id, task, messages, *nothing, "stop", policy)

    @property
    def completion(self) -> str:
        """Text of the last assistant message ("" when there is none)."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def actions(self) -> int:
        """How many tokens the policy chose."""
        return int(self.action_mask.sum())


# ---------------------------------------------------------------- who judged, and what they said


@dataclass(frozen=True, slots=True)
class Annotator:
    """Who judges. ``profile`` holds group memberships and, for simulated annotators, their nature."""

    id: str
    kind: AnnotatorKind
    profile: Mapping[str, Any] = field(default_factory=dict)


class Compared(NamedTuple):
    """One comparison of two episodes: ``strength`` -3..3, positive for the first shown, 0 a tie."""

    judgment: str
    annotator: str
    first: str
    second: str
    strength: int
    probability: float | None = None
    """That the first is better, where the judgment itself states it."""
    weight: float = 1.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What somebody said of episodes. Each kind is a class of its own, a file of :mod:`custodes.feedback.kinds`.

    ``episodes`` are ids in the order in which they were shown. ``shown`` is the SHA-256 of exactly what was shown
    (:func:`hash_shown`). ``assistance`` names the help that was shown ("" for none).
    """

    kind: ClassVar[str]
    """The name of this kind in ledgers and files."""
    seldom: ClassVar[Mapping[str, Any]] = {}
    """Fields that are written only where they differ from these. A row without them means these."""
    columns: ClassVar[Mapping[str, str]] = {}
    """Fields whose column in files of judgments has another name, since fields of one name hold values of one type."""
    form: ClassVar[Literal["pair", "ranks", "number", "choice", "spans", "text"]] = "text"
    """In what form annotation platforms hold such an answer."""

    id: str
    annotator: str
    task: str
    episodes: tuple[str, ...]
    shown: str = ""
    seconds: float | None = None
    assistance: str = ""
    guideline: str = ""

    def __init_subclass__(cls) -> None:
        held = JUDGMENTS.get(cls.kind, cls)
        if held.__module__.startswith("custodes.") and held.__module__ != cls.__module__:
            raise InputError(
                f"{cls.__name__}: judgments of the kind {cls.kind!r} are {held.__name__}; choose another name."
            )
        JUDGMENTS[cls.kind] = cls

    def comparisons(self, axis: str | None = "overall", weightless: bool = False) -> list[Compared]:
        """The comparisons on ``axis`` (None: on any) that this judgment holds; of weight 0 only where ``weightless``."""
        return []

    def pairs(
        self, episodes: Mapping[str, Episode], worse: Mapping[tuple[str, str], Sequence[str]]
    ) -> list[PreferencePair]:
        """Training pairs that nobody compared: an edited text over what its editor edited.

        ``worse`` has, by annotator and episode, the episodes that this annotator found worse.
        """
        return []

    def examples(self, tasks: Mapping[str, Task], episodes: Mapping[str, Episode]) -> list[Example]:
        """What can be imitated. Raises InputError for an unknown task or episode."""
        return []

    def known(self, gold: Mapping[str, Any]) -> Any:
        """What an item's ``gold`` says is right about this judgment's question; None where it says nothing."""
        return None

    def is_right(self, known: Any) -> bool | None:
        """Whether this judgment is what is ``known`` to be right; None where it is about something else."""
        return None

    def stance(self) -> object:
        """What somebody may change when they judge again with help; None for kinds that are not judged twice."""
        return None

    def on_platform(self, order: Sequence[str]) -> tuple[str, Any]:
        """(question, value) in a platform's ``form``. ``order`` has the episodes as the platform's record has them."""
        common = {field.name for field in fields(Judgment)}
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in common}
        return self.kind, own["text"] if own.keys() == {"text"} else json.dumps(own)


JUDGMENTS: dict[str, type[Judgment]] = {}
"""The kinds that have been imported, by name; :func:`judgment_type` imports the others."""


def judgment_type(kind: str) -> type[Judgment]:
    """The class of the judgments of a kind. Raises InputError where no plug-in has it."""
    if kind not in JUDGMENTS:  # the files are imported when they are asked for, the likeliest first
        for name in sorted(registry.kind.names(), key=lambda name: not f"{kind}_".startswith(f"{name}_")):
            registry.kind.find(name)
            if kind in JUDGMENTS:
                break
    if kind not in JUDGMENTS:
        names = sorted(JUDGMENTS)
        raise InputError(
            f"there is no kind of judgment {kind!r}; did you mean {registry.nearest(kind, names)!r}? There are "
            f"{', '.join(names)}; another kind comes with the package that it was made with."
        )
    return JUDGMENTS[kind]


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two completions of one prompt. ``chosen`` and ``rejected`` start with an assistant message (later ones may
    follow where two dialogues part early) and end with one; the prompt is empty where there was none."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    label: float = 1.0
    """Probability that ``chosen`` is better: a soft label; 0.5 is a tie."""
    weight: float = 1.0
    margin: float = 0.0
    """By how much the reward of chosen should exceed that of rejected, as in TRL's reward loss."""
    score_chosen: float | None = None
    score_rejected: float | None = None
    annotator: str = ""
    line: int = 0
    """Row of the file, from 1; 0 where it did not come from a file."""
    place: str = field(default="", compare=False, repr=False)
    """File and row, for messages: "prefs.jsonl, row 12"; "" where it did not come from a file."""


@dataclass(frozen=True, slots=True)
class Example:
    """One completion of a prompt: a demonstration, or where ``label`` is given an answer found (un)acceptable."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool | None = None
    weight: float = 1.0
    annotator: str = ""
    line: int = 0
    place: str = field(default="", compare=False, repr=False)
    """File and row, as of a pair."""


def hash_shown(*parts: str) -> str:
    """SHA-256 of exactly what an annotator was shown, part by part, in order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


# ---------------------------------------------------------------- how good it was


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a reward says of B episodes. ``std`` is its own uncertainty, None where it has none.

    Where a reward has no opinion of an episode, its value is NaN, and so are the parts that it lacks: the episode teaches nothing."""

    value: NDArray[np.float64]  # (B,)
    std: NDArray[np.float64] | None = None  # (B,)
    token: NDArray[np.float64] | None = (
        None  # (B, T), aligned with token_ids; NaN, or throughout 0, where there is none
    )
    parts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # name -> (B,)

    def token_rewards(self) -> NDArray[np.float64] | None:
        """(B, T) rewards of single tokens, such as the last ones of steps; NaN where there is none.

        A table with a NaN has its zeros as rewards of 0; in one without, a 0 is no reward.
        """
        if self.token is None or np.isnan(self.token).any():
            return self.token
        return np.where(self.token == 0, np.nan, self.token)

    def total(self) -> NDArray[np.float64]:
        """(B,) what each whole reply is worth: its value and the rewards of its tokens."""
        token = self.token_rewards()
        return self.value if token is None else self.value + np.nansum(token, axis=1)


@runtime_checkable
class Reward(Protocol):
    """Anything that scores episodes: learned models, ensembles, rubrics, checks, environments, people."""

    def score(self, episodes: Sequence[Episode]) -> Scores: ...


class Environment(Protocol):
    """Where a task plays out. A prompt set is the trivial environment: its first reply ends it."""

    def start(self, task: Task) -> tuple[Message, ...]: ...

    def step(self, reply: str) -> tuple[Message, ...] | None:
        """The messages that answer the policy's reply; None when the episode is over."""
        ...


# ---------------------------------------------------------------- how replies are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class Sampling:
    """How an engine draws replies."""

    temperature: float = 1.0
    """0 takes the most likely token; otherwise logits are divided by it."""
    top_k: int = 0
    """Keep only the k most likely tokens; 0 keeps all."""
    top_p: Annotated[float, Range(0, 1, open_low=True)] = 1.0
    """Keep the smallest set of tokens whose probabilities reach p."""
    max_tokens: Count = 128
    """Longest reply, in tokens."""
    min_tokens: int = 0
    """The reply may not end before this many tokens."""
    n: Count = 1
    """Replies per prompt."""
    stop: tuple[str, ...] = ()
    """Texts that end the reply; the text itself is cut off."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end the reply, besides the model's own end of turn."""
    seed: int = 0
    """Same seed, same model, same prompts asked together at the same batch size: same replies. In float32 another batch
    size nearly always draws the same too; in bfloat16 it rounds elsewhere, and many replies part ways."""

    def __post_init__(self) -> None:
        if self.min_tokens > self.max_tokens:
            raise InputError(
                f"option min_tokens is {self.min_tokens}; it must be at most max_tokens ({self.max_tokens})."
            )

    @property
    def narrowed(self) -> str:
        """The option by which replies come from another distribution than the model's own; "" where none does."""
        own = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_tokens": 0}
        return next((name for name, off in own.items() if getattr(self, name) != off), "")


class Engine(Protocol):
    """Draws replies. ``prefixes[i]``, where given, is a partial answer that reply i must continue."""

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        """``len(tasks) * sampling.n`` episodes, those of one task side by side."""
        ...

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        """Per episode (T,), nats: log-probability of each action token, 0 elsewhere."""
        ...
