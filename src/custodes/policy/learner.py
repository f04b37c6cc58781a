"""The learner: forward passes over packs, gradients, updates. It knows nothing of algorithms or of rewards.

Log-probabilities, entropies and values are computed at actions only. Everything below the first
layer that learns is computed once per pack and kept, for the reference, the old policy and every
epoch alike.

Letters: B episodes, T tokens of the longest, N unique tokens of a pack, M its actions, d hidden size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from custodes.lm.adapter import Adapter
from custodes.lm.decoder import Decoder, Weight, optimiser_groups
from custodes.lm.loading import LanguageModel
from custodes.lm.logprobs import token_logprobs
from custodes.policy.rollout import Pack
from custodes.types import InputError

ADAM_EPSILON = 1e-8
ADAM_BETAS = (0.9, 0.999)


class Diverged(InputError):  # noqa: N818 - what happened, not who erred
    """A loss or gradient is NaN or infinite; the weights are those before the update.

    ``rows`` are the episodes of the rollout that it came from.
    """

    def __init__(self, what: str, rows: Sequence[int]) -> None:
        super().__init__(what)
        self.what, self.rows = what, list(rows)


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
            return Reference(_frozen(lm.decoder), None)
        if all(not b.any() for name, b in lm.adapter.tensors().items() if "lora_B" in name):
            return Reference(lm.decoder, None)
        adapter = Adapter(lm.decoder, lm.adapter.config)
        adapter.restore(lm.adapter.tensors(), "the reference")
        return Reference(lm.decoder, adapter.requires_grad_(False))


def _frozen(decoder: Decoder) -> Decoder:
    """A copy of the weights that compute, without masters."""
    masters = {id(w.master): None for w in decoder.modules() if isinstance(w, Weight) and w.master is not None}
    return copy.deepcopy(decoder, masters).requires_grad_(False)


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
        self.lm, self.max_grad_norm = lm, max_grad_norm
        self.parameters = lm.trainable()
        self.value_head = _value_head(lm.decoder, value_init, seed) if value_head else None
        groups = optimiser_groups(self.parameters, learning_rate, weight_decay)
        if self.value_head is not None:
            head = list(self.value_head.parameters())
            groups.append(
                {"params": head, "lr": value_learning_rate, "weight_decay": 0.0, "full_lr": value_learning_rate}
            )
        self.optimiser = torch.optim.AdamW(groups, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)

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
        self.optimiser.zero_grad(set_to_none=True)
        for pack in packs:
            value = loss(pack, self.forward(pack, temperature, entropy))
            if not torch.isfinite(value):
                raise Diverged(f"the loss is {value.item()}", pack.episode.unique().tolist())
            value.backward()
        norm = self._clip()
        if not math.isfinite(norm):
            raise Diverged(f"the gradient's norm is {norm}", torch.cat([p.episode for p in packs]).unique().tolist())
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * learning_rate_factor
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.lm.refresh()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Everything that an update changed."""
        head = {} if self.value_head is None else self.value_head.state_dict()
        return {
            "parameters": [p.detach() for p in self.parameters],
            "value_head": head,
            "optimiser": self.optimiser.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to a state, bit for bit; the weights that compute follow."""
        for parameter, stored in zip(self.parameters, state["parameters"], strict=True):
            parameter.copy_(stored)
        if self.value_head is not None:
            self.value_head.load_state_dict(state["value_head"])
        try:
            self.optimiser.load_state_dict(state["optimiser"])
        except ValueError:
            raise InputError(
                "the checkpoint's optimiser has other groups of weights, as version 0.1 wrote them; begin in another folder."
            ) from None
        self.lm.refresh()

    def _hidden(self, pack: Pack, decoder: Decoder, adapter: Adapter | None) -> Tensor:
        """(M, d) after the final norm at the token before each action; what lies below the first layer that learns is
        computed once per pack."""
        pack.move(decoder.device)
        if self.lm.adapter is None or not (first := self.lm.adapter.config.first_layer):
            return decoder.hidden(pack.batch, adapter, wanted=pack.predict)
        if pack.trunk is None:
            with torch.no_grad():
                pack.trunk = decoder.run(decoder.embed(pack.batch), pack.batch, 0, first)
        return decoder.final(
            decoder.run(pack.trunk, pack.batch, first, decoder.spec.layers, adapter, wanted=pack.predict)
        )

    def _clip(self) -> float:
        """Scale gradients down to the greatest norm, the value head's on its own; the norm of the policy's before."""
        norm = _clip_to(self.parameters, self.max_grad_norm)
        if self.value_head is None:
            return norm
        head_norm = _clip_to(list(self.value_head.parameters()), self.max_grad_norm)
        return norm if math.isfinite(head_norm) else head_norm


def _clip_to(parameters: Sequence[nn.Parameter], largest: float) -> float:
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(grads))
    if norm > largest:
        torch._foreach_mul_(grads, largest / norm)
    return norm


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
