"""Any causal language model that ``transformers`` knows, behind the interface of :class:`~custodes.lm.decoder.Decoder`.

Slower than the fast path: rows are padded, decoding rebuilds its cache as ``transformers`` does, and adapters are
refused. The weights live in :class:`~custodes.lm.decoder.Weight` modules as the decoder's do; the ``transformers``
module is a shell without any, to which they are lent for each call.

Letters: N unique tokens of a packed batch, R rows, T tokens of the longest, B sequences alive, d hidden size,
V vocabulary.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from custodes.lm.chat import Chat
from custodes.lm.decoder import Weight
from custodes.lm.finite import check_tensors
from custodes.lm.packing import FromRows, PackedBatch, ToRows
from custodes.lm.requests import OnProgress, Request, finish, take
from custodes.lm.weights import check_all_read, is_classifier, quantisation, read_state
from custodes.types import InputError, Sampling

UNLIMITED = 2**20  # tokens; for architectures whose positions have no limit


@dataclass(frozen=True, slots=True)
class _FallbackSpec:
    """What the rest of the code asks of a model's shape."""

    layers: int
    hidden: int
    vocab: int
    context: int  # tokens


class TransformersDecoder(nn.Module):
    """A ``transformers`` causal language model over packed batches."""

    def __init__(self, model: Any) -> None:
        """``model`` is a ``...ForCausalLM``; its parameters are taken out of it."""
        super().__init__()
        head = model.get_output_embeddings().weight
        named = dict(model.named_parameters())  # tied parameters once
        self.names = list(named)
        self._head = next(i for i, parameter in enumerate(named.values()) if parameter is head)
        self.weights = nn.ModuleList(Weight(parameter.detach()) for parameter in named.values())
        text = model.config.get_text_config()
        self.spec = _FallbackSpec(
            text.num_hidden_layers, head.shape[1], head.shape[0], getattr(text, "max_position_embeddings", UNLIMITED)
        )
        self._scale = _logit_scale(text)
        self._takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        for parameter in named.values():
            parameter.requires_grad_(False).data = parameter.new_empty(0)
        self.shell = model

    @staticmethod
    def load(folder: Path, config: Any, dtype: torch.dtype) -> TransformersDecoder:
        """Read a folder's weights. Says once that this architecture is slower.

        Raises :class:`InputError` where weights are missing, damaged or left over, or where the model is not a causal one
        whose logits are a linear function of its hidden states.
        """
        try:
            model, report = _from_pretrained(folder, config, dtype)
        except InputError:
            raise
        except Exception as error:  # safetensors and every architecture raise their own
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"model folder {folder} cannot be loaded by transformers ({reason}).") from None
        if missing := sorted(report["missing_keys"]):
            raise InputError(
                f"model folder {folder}: its weights hold no tensor {missing[0]!r}; the checkpoint is incomplete."
            )
        spare = ["score.weight"] if is_classifier(config) else []
        check_all_read(report["unexpected_keys"], spare, f"model folder {folder}")
        check_tensors(dict(model.named_parameters()), f"model folder {folder}")
        _check(model, folder)
        warnings.warn(
            f"architecture {config.model_type!r} runs through transformers; sampling and training are slower.",
            stacklevel=3,
        )
        return TransformersDecoder(model.eval())

    def train(self, mode: bool = True) -> TransformersDecoder:
        """Dropout stays off: sampler and learner must be one distribution."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[self._head].value.dtype  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        return self.weights[self._head].value.device  # type: ignore[return-value]

    def hidden(
        self, batch: PackedBatch, adapter: None = None, sink: None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """(N, d) after the final norm, scaled so that the head's product with it gives the logits; (M, d) of the M ``wanted``."""
        return self.final(self.run(self.embed(batch), batch, 0, self.spec.layers, adapter, sink, wanted))

    def embed(self, batch: PackedBatch) -> Tensor:
        """(N, d) token embeddings, before the first layer."""
        return self._call(self.shell.get_input_embeddings(), batch.ids)

    def run(
        self,
        x: Tensor,
        batch: PackedBatch,
        first: int,
        end: int,
        adapter: None = None,
        sink: None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """All layers, or none: (N, d) -> (N, d), or (M, d) of the M ``wanted``. ``transformers`` has no way to run some."""
        if first == end:
            return x if wanted is None else x.index_select(0, wanted)
        if (first, end) != (0, self.spec.layers) or adapter is not None:
            raise InputError(f"architecture {self.shell.config.model_type!r} cannot run with adapters; {WHOLE_WEIGHTS}")
        rows = ToRows.apply(x, batch)  # right padding is hidden by causality
        out = self._call(self.shell.base_model, inputs_embeds=rows, use_cache=False).last_hidden_state
        out = FromRows.apply(out, batch)
        return out if wanted is None else out.index_select(0, wanted)

    def final(self, x: Tensor) -> Tensor:
        """The logits' scale; the final norm is part of :meth:`run`."""
        return x if self._scale == 1 else x * self._scale

    def head_weight(self) -> Tensor:
        """(V, d): rows are the output directions of tokens."""
        return self.weights[self._head]()

    def train_all(self) -> list[nn.Parameter]:
        """Give every weight a float32 master; returns the masters, for an optimiser."""
        for weight in self.weights:
            weight.train_master()  # type: ignore[operator]
        return [weight.master for weight in self.weights]  # type: ignore[misc]

    def refresh(self) -> None:
        """Copy masters over the weights that compute. Call after each update."""
        for weight in self.weights:
            weight.refresh()  # type: ignore[operator]

    def state(self) -> dict[str, Tensor]:
        """Names as in the ``transformers`` module, and tensors."""
        return {name: w.value.detach().contiguous() for name, w in zip(self.names, self.weights, strict=True)}  # type: ignore[operator]

    def save_pretrained(self, folder: Path) -> None:
        """Write weights and configuration as ``from_pretrained`` reads them."""
        self.shell.save_pretrained(folder, state_dict=self.state())

    @torch.inference_mode()
    def generate_requests(
        self,
        chat: Chat,
        requests: list[Request],
        sampling: Sampling,
        max_batch: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Draw every request's reply, ``max_batch`` at a time, prompts padded on the left."""
        ends = frozenset((*chat.end_ids, *sampling.stop_ids))
        waiting, finished = sorted(requests, key=lambda r: len(r.prompt)), 0
        for start in range(0, len(waiting), max_batch):
            alive = waiting[start : start + max_batch]
            longest = max(len(r.prompt) for r in alive)
            ids = torch.tensor([np.pad(r.prompt, (longest - len(r.prompt), 0)).tolist() for r in alive])
            seen = torch.tensor([[0] * (longest - len(r.prompt)) + [1] * len(r.prompt) for r in alive])
            ids, seen, cache = ids.to(self.device), seen.to(self.device), None
            while alive:
                logits, cache = self._step(ids, seen, cache)
                take(logits, alive, sampling, chat, ends)
                keep = [i for i, r in enumerate(alive) if not finish(r, chat, sampling, ends)]
                if len(keep) < len(alive):
                    finished += len(alive) - len(keep)
                    alive, kept = [alive[i] for i in keep], torch.tensor(keep, device=self.device, dtype=torch.int64)
                    seen = seen[kept]
                    if alive:
                        cache.batch_select_indices(kept)
                ids = torch.tensor([[r.tokens[-1]] for r in alive], device=self.device)
                seen = torch.cat([seen, seen.new_ones(len(alive), 1)], 1)
                if on_progress is not None:
                    on_progress(finished, len(requests))

    def _step(self, ids: Tensor, seen: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits (B, V) after new tokens ``ids`` (B, n) and the cache with them; ``seen`` (B, all) is 0 on padding."""
        positions = {"position_ids": (seen.cumsum(-1) - 1).clamp_(min=0)[:, -ids.shape[1] :]}
        out = self._call(
            self.shell.base_model,
            ids,
            attention_mask=seen,
            past_key_values=cache,
            use_cache=True,
            **(positions if self._takes_positions else {}),
        )
        return nn.functional.linear(self.final(out.last_hidden_state[:, -1]), self.head_weight()), out.past_key_values

    def _call(self, part: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Run a part of the shell with the weights."""
        prefix = next(name for name, module in self.shell.named_modules() if module is part)
        prefix = f"{prefix}." if prefix else ""
        lent = {
            name.removeprefix(prefix): weight()
            for name, weight in zip(self.names, self.weights, strict=True)
            if name.startswith(prefix)
        }
        return torch.func.functional_call(part, lent, args, kwargs)


def _from_pretrained(folder: Path, config: Any, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model, and what its files lacked or held too much."""
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    if quantisation(folder) is None:
        loaded: tuple[Any, dict[str, Any]] = loader.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True
        )
        return loaded
    with tempfile.TemporaryDirectory() as plain:  # transformers takes weights from files, and has names of its own
        save_file(read_state(folder), Path(plain) / "model.safetensors", {"format": "pt"})
        config.save_pretrained(plain)
        loaded = loader.from_pretrained(plain, config=config, dtype=dtype, output_loading_info=True)
        return loaded


WHOLE_WEIGHTS = "train whole weights, or use a Llama, Mistral, Qwen2 or Qwen3 model."


def _logit_scale(config: Any) -> float:
    """Cohere multiplies logits by a constant, Granite divides."""
    return getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)


@torch.no_grad()
def _check(model: Any, folder: Path) -> None:
    """Refuse what would give wrong log-probabilities: capped or shifted logits, attention to later tokens."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    kind = f"model folder {folder}: architecture {config.model_type!r}"
    if getattr(config, "final_logit_softcapping", None) or getattr(head, "bias", None) is not None:
        raise InputError(f"{kind} caps its logits or adds a bias to them, which is not supported; use another model.")
    ids = torch.arange(8)[None] % config.vocab_size
    whole, part = (model.base_model(ids[:, :n], use_cache=True) for n in (8, 4))
    cache = getattr(whole, "past_key_values", None)  # of recurrent layers it holds a state, which padding would spoil
    if cache is None or any(getattr(layer, "keys", None) is None for layer in getattr(cache, "layers", ())):
        raise InputError(f"{kind} keeps no cache of keys and values, which sampling needs; use another model.")
    if _differs(whole.last_hidden_state[:, :4], part.last_hidden_state):
        raise InputError(f"{kind} lets tokens see later ones, so it is no language model that can sample.")
    if _differs(model(ids).logits, nn.functional.linear(whole.last_hidden_state, head.weight) * _logit_scale(config)):
        raise InputError(f"{kind} makes logits in a way that is not supported; use another model.")


def _differs(a: Tensor, b: Tensor) -> bool:
    tolerance = 0.1 if a.dtype == torch.bfloat16 else 1e-3  # rounding, far below any real difference
    return bool((a - b).abs().max() > tolerance * a.abs().max())
