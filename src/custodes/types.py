"""The nouns of Custodes. Learn these and every other file can be read.

Arrays are numpy so that reading a record never loads a deep-learning framework.
Letters: B episodes in a batch, T tokens of an episode (prompt included).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from custodes.errors import InputError as InputError
from custodes.ranges import Count, Range, ranged

Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["stop", "length", "error"]
Verdict = Literal["prefer", "tie", "both_bad", "cannot_judge"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What every judgment carries.

    ``episodes`` are ids in the order in which they were shown; ``shown`` is the SHA-256 of exactly
    what was shown (:func:`hash_shown`); ``assistance`` names the help that was shown ("" for none).
    """

    id: str
    annotator: str
    task: str
    episodes: tuple[str, ...]
    shown: str = ""
    seconds: float | None = None
    assistance: str = ""
    guideline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Judged):
    """Two episodes side by side. ``strength`` is -3..3 without 0 when ``verdict`` is "prefer":
    positive means that the *first shown* is better; it is 0 for every other verdict.

    A source may say more: ``probability`` that the first shown is better (a soft label), ``weight`` of the judgment in
    training, and ``margin``, by how much the reward of the better one should exceed that of the other."""

    verdict: Verdict = "prefer"
    strength: int = 0
    axis: str = "overall"
    probability: float | None = None
    weight: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        if len(self.episodes) != 2:
            raise InputError(f"comparison {self.id} holds {len(self.episodes)} episodes; it takes 2.")
        if self.verdict not in get_args(Verdict):
            raise InputError(f"comparison {self.id}: verdict {self.verdict!r} is not one of {get_args(Verdict)}.")
        if (self.verdict == "prefer") != (self.strength != 0) or abs(self.strength) > 3:
            raise InputError(
                f"comparison {self.id}: verdict {self.verdict!r} with strength {self.strength}; "
                "a preference has strength -3..3 without 0, every other verdict has 0."
            )
        if self.probability is not None and (self.probability - 0.5) * self.strength < 0:
            raise InputError(
                f"comparison {self.id}: strength {self.strength} and probability {self.probability} of the first shown "
                "contradict each other."
            )
        if not (self.probability is None or 0 <= self.probability <= 1) or self.weight < 0:
            raise InputError(
                f"comparison {self.id}: probability {self.probability}, weight {self.weight}; "
                "a probability is 0 to 1 and a weight 0 or more."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Judged):
    """``ranks[i]`` is the rank of ``episodes[i]``: 1 is best, equal ranks are ties."""

    ranks: tuple[int, ...]
    axis: str = "overall"

    def __post_init__(self) -> None:
        if len(self.ranks) != len(self.episodes) or len(self.ranks) < 2 or min(self.ranks, default=0) < 1:
            raise InputError(
                f"ranking {self.id}: {len(self.ranks)} ranks for {len(self.episodes)} episodes; give one rank from 1 up for each of at least two."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating(Judged):
    """One episode on a named axis, from ``lowest`` to ``highest``: 1..7 (4 = unsure) where nothing else is said."""

    value: float
    axis: str = "overall"
    lowest: float = 1
    highest: float = 7

    def __post_init__(self) -> None:
        if not self.lowest <= self.value <= self.highest:
            raise InputError(f"rating {self.id}: value {self.value} is outside {self.lowest}..{self.highest}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Judged):
    """A category given to one episode, e.g. ``name="acceptable", value="yes"``."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Judged):
    """The annotator's edit of one episode's completion into what it should have been."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration(Judged):
    """The annotator's own answer to a task; ``episodes`` is empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Judged):
    """Language feedback on one episode."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanMark(Judged):
    """Fine-grained feedback: characters ``start:end`` of the completion; severity 1 (slight) to 3."""

    start: int
    end: int
    category: str
    severity: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or self.severity not in (1, 2, 3):
            raise InputError(
                f"span {self.id}: {self.start}:{self.end} severity {self.severity}; give 0 <= start < end and severity 1..3."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMark(Judged):
    """Process supervision: step number ``step`` (from 0) is good (+1), neutral (0) or bad (-1)."""

    step: int
    value: int

    def __post_init__(self) -> None:
        if self.step < 0 or self.value not in (-1, 0, 1):
            raise InputError(
                f"step mark {self.id}: step {self.step}, value {self.value}; give step >= 0 and value -1, 0 or 1."
            )


Judgment = Comparison | Ranking | Rating | Label | Correction | Demonstration | Comment | SpanMark | StepMark

SELDOM = {"probability": None, "weight": 1.0, "margin": 0.0, "lowest": 1, "highest": 7}
"""Fields of judgments that are written only where they differ from these, which is what rows without them mean."""


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
    """What a reward says of B episodes. ``std`` is its own uncertainty, None where it has none."""

    value: NDArray[np.float64]  # (B,)
    std: NDArray[np.float64] | None = None  # (B,)
    token: NDArray[np.float64] | None = None  # (B, T), aligned with token_ids, 0 beyond each episode
    parts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # name -> (B,)


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
