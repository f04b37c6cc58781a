"""The learner: forward passes of a policy over packs, and updates. It knows nothing of algorithms or of rewards.

Log-probabilities, entropies and values are computed at actions only. Everything below the first
layer that learns is computed once per pack and kept, for the reference, the old policy and every
epoch alike.

Letters: B episodes, T tokens of the longest, N unique tokens of a pack, M its actions, d hidden size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from custodes.lm.adapter import Adapter
from custodes.lm.decoder import Decoder, Weight
from custodes.lm.loading import LanguageModel
from custodes.lm.logprobs import token_logprobs
from custodes.policy.rollout import Pack
from custodes.train import Trainer, gradients_of, parameter_groups


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """What the policy says of a pack's M actions."""

    logprobs: Tensor  # (M,) nats
    entropy: Tensor  # (M,) nats
    values: Tensor | None  # (M,) of the value head, float32


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A frozen policy: a decoder and, where it acts through one, an adapter."""

    decoder: Decoder
    adapter: Adapter | None

    @staticmethod
    def of(lm: LanguageModel) -> Reference:
        """The policy as it is now. Free where an adapter has learned nothing yet: that is the base model."""
        if lm.adapter is None:
            masters = {
                id(w.master): None for w in lm.decoder.modules() if isinstance(w, Weight) and w.master is not None
            }  # the copy computes and does not learn
            return Reference(copy.deepcopy(lm.decoder, masters).requires_grad_(False), None)
        if all(not b.any() for name, b in lm.adapter.tensors().items() if "lora_B" in name):
            return Reference(lm.decoder, None)
        adapter = Adapter(lm.decoder, lm.adapter.config)
        adapter.restore(lm.adapter.tensors(), "the reference")
        return Reference(lm.decoder, adapter.requires_grad_(False))

    @contextmanager
    def acting(self, lm: LanguageModel) -> Iterator[None]:
        """Within the block ``lm``, and every engine that draws from it, answers as the reference does."""
        own = lm.decoder, lm.adapter
        lm.decoder, lm.adapter = self.decoder, self.adapter
        try:
            yield
        finally:
            lm.decoder, lm.adapter = own


class Learner:
    """Optimises a language model and, where asked for, a value head on its hidden states.

    Args:
        lm: the model; its adapter, if any, is what learns, else every weight.
        weight_decay: AdamW's, of matrices; norms, biases and the value head do not decay.
        value_head: whether there is one. It starts small, or as ``value_init``.
        value_init: direction (d,) and offset of a linear reward head to start the value head from.
        seed: draws the value head's beginning.
    """

    def __init__(
        self,
        lm: LanguageModel,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        value_head: bool = False,
        value_learning_rate: float = 1e-3,
        value_init: tuple[Tensor, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.lm, self.parameters = lm, lm.trainable()
        self.value_head = _value_head(lm.decoder, value_init, seed) if value_head else None
        head = [] if self.value_head is None else list(self.value_head.parameters())
        self.trainer = Trainer(
            [
                *parameter_groups(self.parameters, learning_rate, weight_decay),
                *parameter_groups(head, value_learning_rate),
            ],
            refresh=lm.refresh,
            max_grad_norm=max_grad_norm,
            parts=lambda: [gradients_of(own) for own in (self.parameters, head) if own],
        )

    def forward(self, pack: Pack, temperature: float, entropy: bool = False) -> Forward:
        """The present policy on a pack; gradients flow unless they are switched off."""
        at = self._hidden(pack, self.lm.decoder, self.lm.adapter)
        head = self.lm.decoder.head_weight()
        logprobs, entropies = token_logprobs(at, head, pack.targets, temperature, entropy)
        values = None if self.value_head is None else self.value_head(at.float()).squeeze(-1)
        return Forward(logprobs, entropies, values)

    @torch.no_grad()
    def measure(
        self, packs: Sequence[Pack], temperature: float, logprobs: Tensor, values: Tensor | None = None
    ) -> None:
        """Fill (B, T) tables at the packs' actions: log-probabilities and, where given, values."""
        for pack in packs:
            seen = self.forward(pack, temperature)
            logprobs.view(-1)[pack.place] = seen.logprobs.to(logprobs)
            if values is not None and seen.values is not None:
                values.view(-1)[pack.place] = seen.values.to(values)

    @torch.no_grad()
    def measure_reference(self, packs: Sequence[Pack], temperature: float, reference: Reference, out: Tensor) -> None:
        """Fill a (B, T) table with the reference's log-probabilities at the packs' actions."""
        for pack in packs:
            hidden = self._hidden(pack, reference.decoder, reference.adapter)
            head = reference.decoder.head_weight()
            out.view(-1)[pack.place] = token_logprobs(hidden, head, pack.targets, temperature)[0].to(out)

    def update(
        self,
        packs: Sequence[Pack],
        loss: Callable[[Pack, Forward], Tensor],
        temperature: float,
        *,
        entropy: bool = False,
        learning_rate_factor: float = 1.0,
    ) -> float:
        """One optimiser step on the sum of ``loss`` over the packs; returns the gradient's norm before clipping.

        ``loss`` must already be divided by the number of actions of *all* packs (and ranks).
        Raises :class:`Diverged` before any weight changes where a loss or the gradient is not finite.
        """
        norms = self.trainer.update(
            packs,
            lambda pack: loss(pack, self.forward(pack, temperature, entropy)),
            lambda pack: pack.episode.unique().tolist(),
            learning_rate_factor,
        )
        return norms[0]

    def _hidden(self, pack: Pack, decoder: Decoder, adapter: Adapter | None) -> Tensor:
        """(M, d) after the final norm at the token before each action; what lies below the first layer that learns is
        computed once per pack."""
        pack.move(decoder.device)
        if self.lm.adapter is None or not (first := self.lm.adapter.first_layer):
            return decoder.hidden(pack.batch, adapter, wanted=pack.predict)
        if pack.trunk is None:
            with torch.no_grad():
                pack.trunk = decoder.run(decoder.embed(pack.batch), pack.batch, 0, first)
        return decoder.final(
            decoder.run(pack.trunk, pack.batch, first, decoder.spec.layers, adapter, wanted=pack.predict)
        )


def _value_head(decoder: Decoder, init: tuple[Tensor, float] | None, seed: int) -> nn.Linear:
    """A linear head (d -> 1) in float32: values are near 0 at first, or those of a reward head."""
    d = decoder.spec.hidden
    head = nn.utils.skip_init(nn.Linear, d, 1, device=decoder.device)
    with torch.no_grad():
        if init is not None:
            head.weight.copy_(init[0].float().view(1, d))
            head.bias.fill_(init[1])
        else:  # standard deviation 1 / (d + 1), as for the reward head of arXiv 2403.17031, detail 12
            head.weight.normal_(0.0, 1 / (d + 1), generator=torch.Generator().manual_seed(seed))
            head.bias.zero_()
    return head
