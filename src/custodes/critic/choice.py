"""Which critic reviews: what a folder, a model's name or an endpoint's address stands for."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from custodes.critic.kept_apart import MANIFEST
from custodes.critic.lines import LINE_SETTINGS, LineScorer, shipped_critic
from custodes.critic.review.critics import Critic, LikelihoodCritic, LineCritic, SampledCritic, SearchCritic
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.question import Commentator, control_words
from custodes.critic.scoring import DEFAULT_MODEL
from custodes.critic.search import SearchConfig
from custodes.lm import Adapter, LanguageModel, TorchEngine, load
from custodes.lm.adapter import ADAPTER_CONFIG
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.ranges import Count, ranged
from custodes.types import InputError, Task

WRITERS = ("rl", "warm-start")
"""Folders in which `custodes critic tune` leaves adapters, the best first."""
REWARD = "reward"


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticChoice:
    """Which critic reviews."""

    critic: Path | None = None
    """Folder that `custodes critic train` or `custodes critic tune` made. Without it and --model, the critic that comes with
    Custodes."""
    model: str = ""
    """A model that proposes what functions should give, and with --arguments an untrained critic: smollm2-135m (embedded), a
    folder, a .gguf file, a hub id, a short name of custodes models, or endpoint:URL#MODEL. With --critic, its base."""
    adapter: Path | None = None
    """Folder of a saved adapter."""
    samples: Count = 4
    """Critiques of each piece of code or answer, where critiques are drawn."""
    search: bool = False
    """Search for the critique (28 candidates) that the reward in the critic's folder likes best."""

    @property
    def named(self) -> bool:
        """Whether a critic was asked for by name."""
        return bool(self.critic or self.adapter or self.search)


def open_critic(choice: CriticChoice, strictness: float = 0.0, answers: bool = False) -> Critic:
    """The critic that was chosen; for ``answers`` one that writes, since scorers of lines read code. Raises InputError."""
    folder = choice.critic or (None if choice.model or choice.adapter or answers else shipped_critic())
    engine = open_endpoint(choice.model, "critic") if choice.model.startswith(ENDPOINT) else None
    name = f"{engine.base_url}#{engine.model}" if engine else ""
    if choice.search and (folder is None or not (folder / REWARD).is_dir()):
        raise InputError("--search needs a reward: name a folder that custodes critic tune made, with --critic FOLDER.")
    if engine and choice.search and not engine.continues():
        lacks = "does not go on with partial answers, which a search needs"
        warnings.warn(f"{engine.base_url} {lacks}: whole critiques are drawn.", stacklevel=2)
    if engine and not (choice.search and engine.continues()):
        return SampledCritic(engine, name, samples=choice.samples)
    if folder is None:
        return LikelihoodCritic(load(choice.model or DEFAULT_MODEL, adapter=choice.adapter))
    has_lines = (folder / LINE_SETTINGS).is_file() and (choice.search or not answers)
    scorer = LineScorer.load(folder, base="" if engine else choice.model) if has_lines else None
    writer = None if engine else find_writer(folder, choice.model, scorer)
    if writer is None and not engine and (choice.search or answers):
        raise InputError(f"{folder} holds no critic that writes; custodes critic tune makes one.")
    if choice.search:
        from custodes.reward import load_reward  # slow to import, and most reviews do not search

        # with a scorer that proposes quotes there are no others: so the strictness reaches from one finding on
        config = SearchConfig(modifier=strictness, own_quotes=scorer is None)
        known_as = f"{name} {critic_digest(folder)}".strip()
        return SearchCritic(engine or writer, load_reward(folder / REWARD), known_as, config, scorer)  # type: ignore[arg-type]
    if scorer is not None:
        return LineCritic(scorer, critic_digest(folder), Commentator(writer or replace(scorer.lm, adapter=None)))
    if writer is None:
        raise InputError(f"{folder} is no critic: give a folder that custodes critic train or tune made.")
    return LikelihoodCritic(writer)


def open_proposer(choice: CriticChoice, options: ProposalOptions) -> Proposer | None:
    """The model that proposes what functions should give; None where none is named, or where it is a critic's base."""
    if not choice.model or choice.critic:
        return None
    if choice.model.startswith(ENDPOINT):
        engine = open_endpoint(choice.model, "model")
        return Proposer(engine, f"{engine.base_url}#{engine.model}", options)
    lm = load(choice.model)
    room = lm.decoder.spec.context - options.proposal_tokens - 16

    def fits(task: Task) -> bool:
        return len(lm.encode(task.messages)) <= room

    return Proposer(TorchEngine(lm), Path(lm.name).name, options, control_words(lm.tokenizer), fits)


def find_writer(folder: Path, base: str = "", scorer: LineScorer | None = None) -> LanguageModel | None:
    """The model with the best adapter that writes, on the scorer's base; None where the folder has none."""
    found = next((folder / name for name in WRITERS if (folder / name / ADAPTER_CONFIG).is_file()), None)
    if found is None:
        return None
    if scorer is None:
        return load(base, adapter=found) if base else load(found)
    return replace(scorer.lm, adapter=Adapter.load(found, scorer.lm.decoder))


def critic_digest(folder: Path) -> str:
    """Of everything in the folder that decides what the critic answers."""
    found = hashlib.sha256()
    for part in (folder, *(folder / name for name in (*WRITERS, REWARD))):
        for file in sorted(part.glob("*")):
            if file.suffix in (".safetensors", ".json") and file.name not in ("summary.json", MANIFEST):
                found.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()
