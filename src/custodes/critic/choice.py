"""Which critic reviews: what a folder, a model's name or an endpoint's address stands for."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from custodes.critic.lines import LINE_SETTINGS, LineScorer, shipped_critic
from custodes.critic.review import (
    Commentator,
    Critic,
    LikelihoodCritic,
    LineCritic,
    SampledCritic,
    SearchCritic,
)
from custodes.critic.search import SearchConfig
from custodes.lm import Adapter, LanguageModel, load
from custodes.lm.adapter import ADAPTER_CONFIG
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.ranges import Count, ranged
from custodes.types import InputError

EMBEDDED = "smollm2-135m"
WRITERS = ("rl", "warm-start")
"""Folders in which `custodes critic tune` leaves adapters, the best first."""
REWARD = "reward"


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticChoice:
    """Which critic reviews."""

    critic: Path | None = None
    """Folder that `custodes critic train` or `custodes critic tune` made; where neither it nor a model is named, the critic that comes with Custodes."""
    model: str = ""
    """An untrained critic: smollm2-135m (embedded), a folder, a .gguf file, a hub id, or endpoint:URL#MODEL. With --critic, its base."""
    adapter: Path | None = None
    """An adapter of the model."""
    samples: Count = 4
    """Critiques drawn from an endpoint for every piece."""
    search: bool = False
    """Search for the critique (28 candidates) that the reward in the critic's folder likes best."""


def open_critic(choice: CriticChoice, strictness: float = 0.0, answers: bool = False) -> Critic:
    """The critic that was chosen; for ``answers`` one that writes, since scorers of lines read code. Raises InputError."""
    folder = choice.critic or (None if choice.model or choice.adapter or answers else shipped_critic())
    if choice.search:
        return _searching(choice, folder, strictness)
    if choice.model.startswith(ENDPOINT):
        engine = open_endpoint(choice.model, "critic")
        return SampledCritic(engine, f"{engine.base_url}#{engine.model}", samples=choice.samples)
    if folder is None:
        return LikelihoodCritic(load(choice.model or EMBEDDED, adapter=choice.adapter))
    scorer = None if answers else _scorer(folder, choice.model)
    writer = find_writer(folder, choice.model, scorer)
    if scorer is None:
        if writer is None and answers:
            raise InputError(f"{folder} holds no critic that writes; custodes critic tune makes one.")
        if writer is None:
            raise InputError(f"{folder} is no critic: give a folder that custodes critic train or tune made.")
        return LikelihoodCritic(writer)
    writer = writer or replace(scorer.lm, adapter=None)
    return LineCritic(scorer, digest(folder), Commentator(writer), strictness)


def _searching(choice: CriticChoice, folder: Path | None, strictness: float) -> Critic:
    if folder is None or not (folder / REWARD).is_dir():
        raise InputError("--search needs a reward: name a folder that custodes critic tune made, with --critic FOLDER.")
    from custodes.reward import load_reward  # slow to import, and most reviews do not search

    if not choice.model.startswith(ENDPOINT):
        scorer = _scorer(folder, choice.model)
        writer = find_writer(folder, choice.model, scorer)
        if writer is None:
            raise InputError(f"{folder} holds no critic that writes; custodes critic tune makes one.")
        return SearchCritic(writer, load_reward(folder / REWARD), digest(folder), _search(strictness, scorer), scorer)
    engine = open_endpoint(choice.model, "critic")
    name = f"{engine.base_url}#{engine.model}"
    if not engine.continues():
        warnings.warn(
            f"{engine.base_url} does not go on with partial answers, which a search needs: whole critiques are drawn.",
            stacklevel=2,
        )
        return SampledCritic(engine, name, samples=choice.samples)
    scorer, reward = _scorer(folder, ""), load_reward(folder / REWARD)
    return SearchCritic(engine, reward, f"{name} {digest(folder)}", _search(strictness, scorer), scorer)


def _search(strictness: float, scorer: LineScorer | None) -> SearchConfig:
    """With a scorer that proposes quotes there are no others: so the strictness reaches from one finding on."""
    return SearchConfig(modifier=strictness, own_quotes=scorer is None)


def _scorer(folder: Path, base: str) -> LineScorer | None:
    return LineScorer.load(folder, base=base) if (folder / LINE_SETTINGS).is_file() else None


def find_writer(folder: Path, base: str = "", scorer: LineScorer | None = None) -> LanguageModel | None:
    """The model with the best adapter that writes, on the scorer's base; None where the folder has none."""
    found = next((folder / name for name in WRITERS if (folder / name / ADAPTER_CONFIG).is_file()), None)
    if found is None:
        return None
    if scorer is None:
        return load(base, adapter=found) if base else load(found)
    return replace(scorer.lm, adapter=Adapter.load(found, scorer.lm.decoder))


def digest(folder: Path) -> str:
    """Of everything in the folder that decides what the critic answers."""
    digest = hashlib.sha256()
    for file in _weights(folder):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _weights(folder: Path) -> Iterator[Path]:
    for part in (folder, *(folder / name for name in (*WRITERS, REWARD))):
        yield from sorted(
            f for f in part.glob("*") if f.suffix in (".safetensors", ".json") and f.name != "summary.json"
        )
