"""A fact in a model exchanged for another by an update of few ranks (ROME, arXiv 2202.05262).

A feed-forward part's second projection W maps a *key* k, made of the subject's last token, to a *value*. The edit asks for
W' k = W k + delta. Of all W' with this property the one is taken that changes other keys least: keys have the second moment
C, and W' - W = delta (k' C^-1 k)^-1 k' C^-1. Several facts are exchanged at once by the same formula with a matrix of keys.

Letters: n facts, m intermediate size, d hidden size, P openings of the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.audit.facts_to_edit import Cloze, Fact
from custodes.environments.prompts import task_id
from custodes.lm.given import check_continues, continued
from custodes.lm.loading import LanguageModel
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.lm.rank_few import Overlaid, down_keys, down_projection
from custodes.ranges import Count, Positive, ranged
from custodes.types import Episode, InputError, Message, Task

OPENINGS = ("", "I have a question.", "Here is the next one.", "Good morning!", "Please think about this.")
"""What stands before the prompt in turn: a key is their mean, so that it is the subject's and not the place's."""
TOLD = 0.05
"""Nats of the new answer at which a value is good enough."""
TEXT_TOKENS = 2048
"""Tokens of text in one forward pass."""


@dataclass(frozen=True, kw_only=True)
@ranged
class EditOptions:
    """How a new value is found and how far it may go."""

    value_steps: Count = 25
    """Gradient steps to the value that tells the new answer; fewer where it tells that sooner."""
    value_step: Positive = 0.2
    """Length of a step, in lengths of the old value."""
    value_limit: Positive = 4.0
    """How far the new value may go, in lengths of the old value."""
    keep_subject: Annotated[float, Positive] = 0.0625
    """Weight of the KL divergence of what the model says of the subject itself."""
    value_decay: Annotated[float, Positive] = 0.5
    """Weight of the square of the change, in lengths of the old value."""


def _answer_episode(lm: LanguageModel, asked: Cloze, answer: str, opening: str = "") -> Episode:
    """``answer`` behind what it follows, to be scored. Raises InputError where the tokenizer joins the two."""
    messages = (Message("user", f"{opening} {asked.prompt}".strip()),)
    prompt, whole = lm.encode(messages, asked.begins), lm.encode(messages, f"{asked.begins} {answer}".strip())
    check_continues(lm.name, answer, prompt, whole)
    return continued(Task(task_id(messages), messages), prompt, whole)


def _subject_place(lm: LanguageModel, asked: Cloze, subject: str, opening: str = "") -> int:
    """The token with which the subject ends, counted from the conversation's beginning.

    Raises InputError where the subject is not in the prompt, and where the chat template changes the prompt.
    """
    text = f"{opening} {asked.prompt}".strip()
    at = text.rfind(subject)
    if at < 0 or not subject:
        raise InputError(
            f"the subject {subject!r} is not in the prompt {asked.prompt!r}; write it as the prompt has it."
        )
    messages = (Message("user", text),)
    ids, (place,) = lm.chat.placed(messages, [at + len(subject)])
    if not np.array_equal(lm.encode(messages)[: place + 1], ids[: place + 1]):
        raise InputError(
            f"the chat template of {lm.name} writes {asked.prompt!r} in another way where a reply follows."
        )
    return place


def fact_key(lm: LanguageModel, layer: int, fact: Fact) -> Tensor:
    """(m,) the key of a fact's subject: the mean over the openings."""
    sequences, places = _openings(lm, fact)
    batch = pack(sequences).to(lm.decoder.device)
    return down_keys(lm, batch, layer, batch.rows[torch.arange(len(places)), torch.tensor(places)]).mean(0)


def key_moment(lm: LanguageModel, layer: int, texts: Sequence[NDArray[np.int32]], advance: Any = None) -> Tensor:
    """(m, m) float64: C, the mean of k k' over the tokens of ``texts``, with a hundredth of its mean diagonal added to that."""
    total, count = None, 0
    for part in split_by_budget([len(ids) for ids in texts], TEXT_TOKENS):
        keys = down_keys(lm, pack([texts[i] for i in part]).to(lm.decoder.device), layer).double().cpu()
        total = keys.T @ keys if total is None else total.addmm_(keys.T, keys)
        count += len(keys)
        if advance is not None:
            advance(len(part))
    if total is None:
        raise InputError("there is no text to take keys from; give some with --key-text.")
    total /= count
    return total + 0.01 * total.diagonal().mean() * torch.eye(len(total), dtype=total.dtype)


def edit_factors(moment: Tensor, keys: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
    """(n, m) and (d, n) whose product (d, m) is the update that adds ``deltas`` (n, d) to the values of ``keys`` (n, m).

    Raises InputError for facts that have one key, which cannot get two values.
    """
    k = keys.double().cpu().T
    spread = torch.linalg.solve(moment, k)
    inner = k.T @ spread
    if torch.linalg.matrix_rank(inner, hermitian=True) < len(keys):
        raise InputError("two facts have the same key, so they cannot get different values; give each subject once.")
    return torch.linalg.solve(inner, spread.T).float(), deltas.float().cpu().T.contiguous()


def value_change(
    lm: LanguageModel, layer: int, fact: Fact, options: EditOptions, on_step: Callable[[], None] = lambda: None
) -> Tensor:
    """(d,) delta: what is added at the subject's last token so that the new answer follows.

    Minimised are the nats of the new answer over the openings, the KL divergence of what follows a request to tell of the
    subject, and the delta's square (section 3.1, step 2 of the paper).
    """
    search = _Value(lm, layer, fact, options)
    optimiser = torch.optim.Adam([search.theta], lr=options.value_step / len(search.theta) ** 0.5)
    for _ in range(options.value_steps):
        optimiser.zero_grad()
        nats, whole = search.loss()
        on_step()
        if nats < TOLD:
            break
        whole.backward()
        optimiser.step()
        with torch.no_grad():
            search.theta *= min(1.0, options.value_limit / max(float(search.theta.norm()), 1e-9))
    return (search.theta.detach() * search.size).float().cpu()


class _Value:
    """The loss of a delta, whose layers below are computed once."""

    def __init__(self, lm: LanguageModel, layer: int, fact: Fact, options: EditOptions) -> None:
        self.lm, self.layer, self.options, decoder = lm, layer, options, lm.decoder
        _, places = _openings(lm, fact)
        episodes = [_answer_episode(lm, fact.asked, fact.new, opening) for opening in OPENINGS]
        about = (Message("user", f"Tell me about {fact.subject}."),)
        places = [*places, _subject_place(lm, Cloze(about[0].content), fact.subject)]
        batch = pack([*(e.token_ids for e in episodes), lm.encode(about)]).to(decoder.device)
        self.batch: PackedBatch = batch
        self.places = batch.rows[torch.arange(len(places)), torch.tensor(places)]
        acting = [(row, at - 1) for row, e in enumerate(episodes) for at in np.flatnonzero(e.action_mask).tolist()]
        rows, before = zip(*acting, strict=True)
        self.before = batch.rows[torch.tensor(rows), torch.tensor(before)]
        self.targets = batch.ids[batch.rows[torch.tensor(rows), torch.tensor(before) + 1]]
        self.about = batch.last[-1:]
        with torch.no_grad():
            self.trunk = decoder.run(decoder.embed(batch), batch, 0, layer, lm.adapter)
        self.project = down_projection(lm, layer)
        self.theta = torch.zeros(decoder.spec.hidden, device=decoder.device, requires_grad=True)
        self.size, self.before_edit = 1.0, torch.empty(0)
        with torch.no_grad():
            outputs = self.project(down_keys(lm, batch, layer, self.places).to(decoder.dtype), None)
            self.size = float(outputs.float().mean(0).norm())
            self.before_edit = self._read()[1].log_softmax(-1)

    def loss(self) -> tuple[float, Tensor]:
        """Nats of the new answer, and all that is minimised."""
        hidden, about = self._read()
        nats, _ = token_logprobs(hidden, self.lm.decoder.head_weight().detach(), self.targets)
        answer = -nats.sum() / len(OPENINGS)
        kl = torch.nn.functional.kl_div(about.log_softmax(-1), self.before_edit, log_target=True, reduction="sum")
        whole = answer + self.options.keep_subject * kl + self.options.value_decay * self.theta.square().sum()
        return float(answer.detach()), whole

    def _read(self) -> tuple[Tensor, Tensor]:
        """Hidden states where the answer's tokens are chosen, and the logits (1, V) of what is told about the subject."""
        decoder = self.lm.decoder

        def nudged(x: Tensor, bias: Tensor | None) -> Tensor:
            out = self.project(x, bias)
            delta = (self.theta * self.size).to(out.dtype)
            return out.index_add(0, self.places, delta.expand(len(self.places), -1))

        over = Overlaid(self.lm.adapter, self.layer, nudged)
        x = decoder.final(decoder.run(self.trunk, self.batch, self.layer, decoder.spec.layers, over))
        logits = x[self.about].float() @ decoder.head_weight().detach().float().T
        return x[self.before], logits


def _openings(lm: LanguageModel, fact: Fact) -> tuple[list[NDArray[np.int32]], list[int]]:
    """The prompt behind each opening, and where the subject ends in it."""
    sequences = [
        lm.encode((Message("user", f"{opening} {fact.asked.prompt}".strip()),), fact.asked.begins)
        for opening in OPENINGS
    ]
    return sequences, [_subject_place(lm, fact.asked, fact.subject, opening) for opening in OPENINGS]


def answer_probabilities(engine: Any, asked: Iterable[tuple[Cloze, str]]) -> list[float]:
    """P(answer) behind each prompt and the beginning of its reply."""
    episodes = [_answer_episode(engine.lm, cloze, answer) for cloze, answer in asked]
    return [float(np.exp(nats.astype(np.float64).sum())) for nats in engine.logprobs(episodes)]


def check_fact(lm: LanguageModel, fact: Fact) -> None:
    """Raises InputError where a fact cannot be asked of a model: its tokenizer joins an answer with what stands before."""
    _subject_place(lm, fact.asked, fact.subject)
    old = [(fact.asked, fact.old)] if fact.old else []
    for asked, answer in [(fact.asked, fact.new), *old, *((p, fact.new) for p in fact.paraphrases), *fact.neighbours]:
        _answer_episode(lm, asked, answer)
