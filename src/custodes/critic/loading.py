"""Opening the critic that was chosen, and the model that proposes: this is where models are loaded."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

from custodes.critic.choice import REWARD, WRITERS, CriticChoice
from custodes.critic.kept_apart import MANIFEST
from custodes.critic.lines import LINE_SETTINGS, LineScorer, shipped_critic
from custodes.critic.review.commentator import Commentator
from custodes.critic.review.critics import LikelihoodCritic, LineCritic, SampledCritic, SearchCritic
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.question import control_words
from custodes.critic.review.remarks import Critic
from custodes.critic.scoring import DEFAULT_MODEL
from custodes.critic.search import SearchConfig
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import InputError, Task


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
    """The model that proposes what functions should give; None where the choice has none. Raises InputError."""
    if not choice.proposes:
        return None
    model = choice.model
    if model.startswith(ENDPOINT):
        engine = open_endpoint(model, "model")
        return Proposer(engine, f"{engine.base_url}#{engine.model}", options)
    lm = load(model)
    room = lm.decoder.spec.context - options.proposal_tokens

    def fits(task: Task, begun: str) -> bool:
        return len(lm.encode(task.messages, begun)) <= room

    return Proposer(TorchEngine(lm), Path(lm.name).name, options, control_words(lm.tokenizer), fits, opens=True)


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
