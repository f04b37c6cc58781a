"""Policies by what a user calls them."""

from __future__ import annotations

from custodes.gaming.environment import Tools
from custodes.gaming.policies import EnginePolicy, Policy, ScriptedPolicy
from custodes.types import InputError, Sampling


def open_policy(
    spec: str,
    sampling: Sampling,
    *,
    tools: Tools = "text",
    batch: int = 64,
    cache_gb: float = 2.0,
    api_key: str | None = None,
) -> Policy:
    """``scripted:NAME``, ``endpoint:URL#MODEL``, or a model by name or folder, whose keys and values may take
    ``cache_gb``. Raises InputError for anything else, and where nothing answers at the endpoint."""
    kind, _, rest = spec.partition(":")
    if kind == "scripted":
        return ScriptedPolicy(rest)
    if kind == "endpoint":
        from custodes.gaming.native import ToolEndpoint
        from custodes.gaming.reach import reach
        from custodes.lm.address import address
        from custodes.lm.endpoint import EndpointEngine

        engine = ToolEndpoint if tools == "native" else EndpointEngine
        made = engine(*address(spec, "policy"), api_key, concurrency=batch)
        reach(made)
        return EnginePolicy(made, spec, sampling, batch, text=tools == "text")
    if tools == "native":
        raise InputError(f"policy {spec!r}: native tool calling is for endpoints; leave --tools at text.")
    from custodes.gaming.model import ModelPolicy
    from custodes.lm import TorchEngine, load

    return ModelPolicy(TorchEngine(load(spec), max_batch=batch, cache_gb=cache_gb), spec, sampling, batch)
