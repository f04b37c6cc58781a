"""Language models: loading, sampling engines, log-probabilities."""

from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.branches import Branch, Branches
from custodes.lm.decoder import Decoder
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import PackedBatch, pack, split_by_budget

__all__ = [
    "Adapter",
    "AdapterConfig",
    "Branch",
    "Branches",
    "Decoder",
    "LanguageModel",
    "PackedBatch",
    "TorchEngine",
    "load",
    "pack",
    "split_by_budget",
    "token_logprobs",
]
