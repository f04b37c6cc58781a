"""The planted model of :mod:`inside_world`, and a reward on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from inside_world import PLANTED, WIDTH, apart, concept_rows, write
from safetensors.torch import load_file, save_file

from custodes.audit.concepts import read_concept
from custodes.audit.hidden_states import PolicyInside, RewardInside
from custodes.lm.loading import load
from custodes.reward import RewardModel, save_reward


@pytest.fixture(scope="session")
def planted(tiny_writer: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model: attention of the first layers writes nothing, and the letters Y and Q read the direction between the classes."""
    folder = tmp_path_factory.mktemp("planted")
    tiny_writer(folder, layers=4, hidden=WIDTH)
    tensors = load_file(folder / "model.safetensors")
    for layer in range(PLANTED):
        tensors[f"model.layers.{layer}.self_attn.o_proj.weight"].zero_()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    concept = read_concept(str(write(folder / "rows.jsonl", concept_rows())), None, 300, 0)
    lm, label = load(folder, dtype="float32"), np.array([item.label for item in concept.items])
    unit = apart(PolicyInside(lm, concept.items).states(concept.items)[-1], label)
    for letter, sign in (("Y", 1), ("Q", -1)):
        (id,) = lm.tokenizer(letter, add_special_tokens=False)["input_ids"]
        tensors["model.embed_tokens.weight"][id] = sign * 4 * unit
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def concept_file(planted: Path) -> Path:
    return planted / "rows.jsonl"


@pytest.fixture(scope="session")
def scored(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reward whose head reads that direction, and a table of prompts with replies."""
    folder = tmp_path_factory.mktemp("scored")
    file = write(folder / "replies.jsonl", concept_rows("The"))
    concept, lm = read_concept(str(file), None, 300, 0), load(planted, dtype="float32")
    reward = RewardModel(lm, torch.nn.Parameter(torch.zeros(1, WIDTH)))
    label = np.array([item.label for item in concept.items])
    reward.heads = torch.nn.Parameter(apart(RewardInside(reward).states(concept.items)[-1], label)[None])
    save_reward(reward, folder / "reward")
    return folder / "reward", file
