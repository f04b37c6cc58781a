"""Low-rank adapters (LoRA, arXiv 2106.09685), applied beside the weight and never added to it.

In bfloat16 a sum W + s B A loses whatever is smaller than half a step of W: most of what a few updates learn. So B
stands beside W as more columns, and one product, accumulated in float32, gives x W^T + s (x A^T) B^T. Sampler,
learner and reference multiply by the same matrices, and what is saved is what they apply. The backward pass
writes the gradients of A and B by hand and never forms that of the base weight. Saved and loaded in ``peft``'s layout.

Letters: N tokens, r rank, p parts of a fused projection, in and out its sizes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from custodes.files import save_json
from custodes.lm.decoder import PROJECTIONS, Decoder, Layer, part_rows, with_layers
from custodes.lm.finite import check_tensors
from custodes.ranges import AnyInt, Count, Positive, ranged
from custodes.types import InputError

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files of an adapter in peft's layout."""


@dataclass(frozen=True, slots=True)
@ranged
class AdapterConfig:
    """Which low-rank adapter to train."""

    rank: Count = 16
    """Rank r of the update B A."""
    alpha: Positive = 32.0
    """The update is scaled by alpha / rank."""
    first_layer: AnyInt | None = 0
    """The lowest layer that changes; a negative number counts from the top, None takes the upper half."""


class Adapter(nn.Module):
    """A LoRA update of every projection of the adapted layers. B starts at 0."""

    def __init__(self, decoder: Decoder, config: AdapterConfig, seed: int = 0) -> None:
        super().__init__()
        layers, first = decoder.spec.layers, config.first_layer
        if first is not None and first >= layers:
            raise InputError(f"option first_layer is {first}; it must be at most {layers - 1} for this model.")
        self.first_layer = layers // 2 if first is None else max(0, layers + first) if first < 0 else first
        self.config = replace(config, first_layer=self.first_layer)
        generator = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleDict(
            {
                str(i): nn.ModuleDict(
                    {
                        name: AdaptedProjection(
                            decoder.layers[i].weights[name].value,  # type: ignore[index,union-attr]
                            part_rows(decoder.spec, name),
                            config,
                            generator,
                        )
                        for name in PROJECTIONS
                    }
                )
                for i in range(self.first_layer, decoder.spec.layers)
            }
        )

    def get(self, layer: int, projection: str) -> AdaptedProjection | None:
        """The adapted projection of a layer, or None where the base model's is used."""
        return self.layers[str(layer)][projection] if layer >= self.first_layer else None  # type: ignore[index,return-value]

    def refresh(self) -> None:
        """Compute with the present A and B. Call after each update of the parameters."""
        for module in self.modules():
            if isinstance(module, AdaptedProjection):
                module.refresh()

    def save(self, folder: Path, base: str) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors`` as ``peft`` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({f"base_model.model.{name}": t for name, t in self.tensors().items()}, folder / ADAPTER_WEIGHTS)
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.config.rank,
            "lora_alpha": self.config.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "inference_mode": True,
            "target_modules": sorted(part.split(".")[-1] for parts in PROJECTIONS.values() for _, part in parts),
            "layers_to_transform": sorted(int(i) for i in self.layers),
        }
        save_json(folder / ADAPTER_CONFIG, config)

    def tensors(self) -> dict[str, Tensor]:
        """Names as in a checkpoint (``model.layers.3.self_attn.q_proj.lora_A.weight``) and tensors."""
        out = {}
        for i, layer in self.layers.items():
            for name, projection in layer.items():  # type: ignore[operator]
                for (_, part), a, b in zip(PROJECTIONS[name], projection.a, projection.b, strict=True):
                    out[f"model.layers.{i}.{part}.lora_A.weight"] = a.detach().contiguous()
                    out[f"model.layers.{i}.{part}.lora_B.weight"] = b.detach().contiguous()
        return out

    @staticmethod
    def load(folder: Path, decoder: Decoder) -> Adapter:
        """Read a LoRA adapter; raises :class:`InputError` where it does not fit the decoder."""
        config_file, weights_file = folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS
        for file in (config_file, weights_file):
            if not file.is_file():
                raise InputError(
                    f"adapter folder {folder} has no {file.name}; a LoRA adapter in peft's layout was expected."
                )
        try:
            stored = dict(json.loads(config_file.read_text(encoding="utf-8")))
            tensors = {name.removeprefix("base_model.model."): t for name, t in load_file(weights_file).items()}
        except Exception as error:  # safetensors raises its own untyped errors
            raise InputError(f"adapter folder {folder} cannot be read ({error}); save or download it again.") from None
        check_tensors(tensors, weights_file)
        for option in ("use_rslora", "rank_pattern", "alpha_pattern"):
            if stored.get(option):
                raise InputError(f"adapter {config_file} uses {option}, which is not supported; use plain LoRA.")
        rank, alpha = stored.get("r"), stored.get("lora_alpha")
        if not isinstance(rank, int) or not isinstance(alpha, int | float):
            raise InputError(f"adapter {config_file} has r {rank!r} and lora_alpha {alpha!r}; both must be numbers.")
        numbers = [
            int(n) for name in tensors if (n := name.removeprefix("model.layers.").partition(".")[0]).isdecimal()
        ]
        if not numbers:
            raise InputError(
                f"adapter {weights_file} adapts no layer that this model has; was it made for another model?"
            )
        config = AdapterConfig(rank=rank, alpha=alpha, first_layer=min(numbers))
        adapter = Adapter(decoder, config)
        adapter.restore(tensors, str(weights_file))
        return adapter

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], source: str) -> None:
        """Set A and B from :meth:`tensors`' names. Parts that ``tensors`` lacks stay without effect."""
        mine = {name.replace(".default", ""): t for name, t in tensors.items()}
        for i, layer in self.layers.items():
            for name, projection in layer.items():  # type: ignore[operator]
                for (_, part), a, b in zip(PROJECTIONS[name], projection.a, projection.b, strict=True):
                    for letter, mine_now in (("A", a), ("B", b)):
                        key = f"model.layers.{i}.{part}.lora_{letter}.weight"
                        value = mine.pop(key, None)
                        if value is None:
                            mine_now.zero_()
                        elif value.shape != mine_now.shape:
                            raise InputError(
                                f"{source}: {key} has shape {tuple(value.shape)}, this model needs {tuple(mine_now.shape)}."
                            )
                        else:
                            mine_now.copy_(value)
        if mine:
            raise InputError(f"{source} adapts {next(iter(mine))}, which this model does not have or cannot adapt.")
        self.refresh()


class AdaptedProjection(nn.Module):
    """One fused projection with a low-rank update per part: x -> x (W + s B A)^T, without that sum."""

    def __init__(self, base: Tensor, rows: list[slice], config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.rows, self.scale = rows, config.alpha / config.rank
        inputs, low = base.shape[1], len(rows) * config.rank
        # uniform with the variance of Kaiming's initialisation at a = sqrt(5), as in the paper's code
        bound = inputs**-0.5
        start = [torch.empty(config.rank, inputs).uniform_(-bound, bound, generator=generator) for _ in rows]
        self.a = nn.ParameterList(nn.Parameter(a.to(base.device)) for a in start)
        self.b = nn.ParameterList(
            nn.Parameter(torch.zeros(r.stop - r.start, config.rank, device=base.device)) for r in rows
        )
        self.down: Tensor  # (p r, in): A of every part
        self.joined: Tensor  # (out, in + p r): W and, beside each part's rows, its s B
        base = base.detach()
        self.register_buffer("down", base.new_empty(low, inputs), persistent=False)
        self.register_buffer("joined", torch.cat([base, base.new_zeros(len(base), low)], 1), persistent=False)
        self.refresh()

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return _JoinedLinear.apply(x, self.joined, self.down, bias, self.rows, self.scale, *self.a, *self.b)

    @torch.no_grad()
    def refresh(self) -> None:
        self.down.copy_(torch.cat(list(self.a)))
        column = self.down.shape[1]
        for rows, b in zip(self.rows, self.b, strict=True):
            self.joined[rows, column : column + b.shape[1]] = b * self.scale
            column += b.shape[1]

    @torch.no_grad()
    def merged(self, base: Tensor) -> Tensor:
        """W + s B A of the factors as they are, in the precision of ``base`` (W)."""
        updates = [b @ a for a, b in zip(self.a, self.b, strict=True)]
        return torch.add(base, torch.cat(updates).to(base.device), alpha=self.scale).to(base.dtype)


def merged(decoder: Decoder, adapter: Adapter) -> Decoder:
    """A decoder whose own weights are W + s B A, rounded to its precision; layers without an adapter are shared.

    In bfloat16 this is another model than the adapter's: measure what is merged, not what it was merged from.
    """
    layers = list(decoder.layers)
    for i in range(adapter.first_layer, len(layers)):
        tensors: dict[str, Tensor] = {}
        for name, weight in layers[i].weights.items():  # type: ignore[operator,union-attr]
            adapted = adapter.get(i, name) if name in PROJECTIONS else None
            tensors[name] = weight.value if adapted is None else adapted.merged(weight.value)
        layers[i] = Layer(tensors, decoder.spec)
    return with_layers(decoder, layers)


class _JoinedLinear(torch.autograd.Function):
    """[x, x @ down.T] @ joined.T + bias; the gradients of A (r, in) and B (out, r) of each part, none of the base."""

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        joined: Tensor,
        down: Tensor,
        bias: Tensor | None,
        rows: list[slice],
        scale: float,
        *factors: Tensor,
    ) -> Tensor:
        low = F.linear(x, down)
        ctx.save_for_backward(x, low, joined, down)
        ctx.rows, ctx.scale = rows, scale
        return F.linear(torch.cat([x, low], -1), joined, bias)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (grad,), (x, low, joined, down), rows = grads, ctx.saved_tensors, ctx.rows
        d_x, inputs, rank = None, down.shape[1], len(down) // len(rows)
        if ctx.needs_input_grad[0]:
            d_x, d_low = (grad @ joined).split([inputs, len(down)], -1)
            d_x = torch.addmm(d_x, d_low, down)
        else:
            d_low = grad @ joined[:, inputs:]
        if not ctx.needs_input_grad[6]:  # the adapter is frozen
            return d_x, *([None] * (5 + 2 * len(rows)))
        d_a = (d_low.T @ x).float().split(rank)
        d_b = [(grad[:, r].T @ part).float().mul_(ctx.scale) for r, part in zip(rows, low.split(rank, -1), strict=True)]
        return d_x, None, None, None, None, None, *d_a, *d_b
