"""Reward models on disk.

A single model, or heads on one backbone, is a folder that ``AutoModelForSequenceClassification`` loads: its
logits are our member scores, an axis after the other, plus ``config.reward_center`` (that architecture has no bias to hold it). K
adapters are kept as such (peft's layout, heads, ``reward.json``) with the base model by name;
:func:`export` writes each of them as a folder of the first kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from custodes.files import save_json
from custodes.lm.adapter import Adapter, merged
from custodes.lm.chat import QUESTION
from custodes.lm.decoder import Decoder
from custodes.lm.finite import check_tensors
from custodes.lm.loading import DtypeName, LanguageModel, load, model_folder, read_config
from custodes.lm.precision import device_named
from custodes.lm.weights import is_classifier, read_state
from custodes.reward.model import OVERALL, RewardModel
from custodes.types import InputError, Message

SETTINGS = "reward.json"
HEADS = "heads.safetensors"
TRAINING = "training.json"
"""What a reward was trained on, and how good it was: for whoever finds the folder."""
VERSION = 2
"""Of what is stored: from 2 on, the score is read at the last token of the rendered conversation."""


def save_reward(model: RewardModel, folder: Path | str) -> None:
    """Write ``model`` into ``folder``. Raises InputError where the disk is full or the folder read-only."""
    folder = Path(folder)
    with _writing(folder):
        if len(model.adapters) > 1:
            for k, adapter in enumerate(model.adapters):
                adapter.save(folder / f"member_{k}", model.lm.name)
            save_file({"heads": model.heads.detach().cpu().contiguous()}, folder / HEADS)
            base = model.lm.name if not Path(model.lm.name).exists() else str(Path(model.lm.name).resolve())
            kept = {"base": base, "base_dtype": _dtype(model.lm), "base_sha256": model.lm.fingerprint()}
            _save_settings(model, folder, kept | {"center": model.center.tolist(), "scale": model.scale.tolist()})
        else:
            _save_classifier(model, folder, list(range(model.members)))


def export(model: RewardModel, folder: Path | str) -> list[Path]:
    """Write every member as a folder of its own that ``AutoModelForSequenceClassification`` loads.

    Adapters are merged into the backbone. In bfloat16 that rounds their sum; load the model in float32 to keep it whole.
    """
    folders = [Path(folder) / f"member_{k}" for k in range(model.members)]
    for k, member in enumerate(folders):
        with _writing(member):
            _save_classifier(model, member, [k])
    return folders


def load_reward(folder: Path | str, dtype: DtypeName = "auto", device: str = "cpu") -> RewardModel:
    """Read a reward model: ours, or any Llama-like sequence classifier (local folder or hub id).

    Raises InputError where the folder is not a reward model, is damaged, or its base model has changed.
    """
    folder, device = model_folder(str(folder)), device_named(device)
    settings = _settings(folder)
    axes, marks = tuple(settings.get("axes", [OVERALL])), tuple(settings.get("marks", []))
    if "base" in settings:
        lm = load(settings["base"], dtype=dtype, device=device)
        if _dtype(lm) == settings["base_dtype"] and lm.fingerprint() != settings["base_sha256"]:
            raise InputError(
                f"reward model {folder} was trained on other weights than {settings['base']} now holds; "
                "restore that model, or train again."
            )
        heads = _read(folder / HEADS)["heads"]
        members = range(len(heads) // (len(axes) + len(marks)))
        adapters = [Adapter.load(folder / f"member_{k}", lm.decoder).to(device) for k in members]
    else:
        lm, heads, adapters = _load_classifier(folder, dtype, device)
    return RewardModel(
        lm=lm,
        heads=nn.Parameter(heads.float().to(device)),
        adapters=adapters,
        center=np.asarray(settings.get("center", 0.0), np.float64),
        scale=np.asarray(settings.get("scale", 1.0), np.float64),
        combine=settings.get("combine", "mean"),
        caution=settings.get("caution", 1.0),
        temperature=settings.get("temperature", 1.0),
        learned_temperature=settings.get("learned_temperature", settings.get("temperature", 1.0)),
        max_length=settings.get("max_length", lm.decoder.spec.context),
        # transformers reads the last token that is not padding: where the template ends with the token that also pads,
        # a classifier trained there has always read the token before it
        padding=None if "base" in settings else getattr(lm.config, "pad_token_id", None),
        name=settings.get("name", folder.name),
        axes=axes,
        marks=marks,
        weights=settings.get("value", {}),
    )


def _save_classifier(model: RewardModel, folder: Path, members: list[int]) -> None:
    lm = model.lm
    adapter = model.adapters[members[0] if len(model.adapters) > 1 else 0] if model.adapters else None
    names = {k * len(model.outputs) + o: _label(model, k, n) for k in members for o, n in enumerate(model.outputs)}
    rows = list(names)
    scale = torch.from_numpy(model.scale[rows]).to(model.heads)
    heads = model.heads.detach()[rows] / scale[:, None]
    backbone = lm.decoder if adapter is None else merged(lm.decoder, adapter)
    unused = "lm_head.weight" if isinstance(lm.decoder, Decoder) else ""  # where transformers runs the model, it stays
    tensors = {n: t for n, t in backbone.state().items() if n != unused} | {"score.weight": heads}
    save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    center = (model.center / model.scale)[rows].tolist()
    pad = _padding(lm) if model.padding is None else model.padding
    config = {
        **lm.config.to_dict(),
        "architectures": [_classifier(lm)],
        "dtype": _dtype(lm),
        "id2label": {str(i): names[row] for i, row in enumerate(rows)},
        "label2id": {names[row]: i for i, row in enumerate(rows)},
        "pad_token_id": pad,
        "reward_center": center,
    }
    save_json(folder / "config.json", config)
    lm.save_tokenizer(folder, pad_token=None if pad is None else lm.tokenizer.convert_ids_to_tokens(pad))
    _save_settings(model, folder, {"center": center})


def _save_settings(model: RewardModel, folder: Path, more: dict[str, Any]) -> None:
    names = ("combine", "caution", "temperature", "learned_temperature", "max_length", "name")
    axes = {"axes": list(model.axes), "marks": list(model.marks), "value": dict(model.weights)}
    axes = {} if model.outputs == (OVERALL,) and not model.weights else axes
    save_json(folder / SETTINGS, {"version": VERSION} | {name: getattr(model, name) for name in names} | axes | more)


def _label(model: RewardModel, member: int, axis: str) -> str:
    """What ``transformers`` calls an output."""
    if len(model.outputs) == 1:
        return f"member_{member}"
    return axis if model.members == 1 else f"member_{member}/{axis}"


def _classifier(lm: LanguageModel) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as KNOWN

    name = KNOWN.get(lm.config.model_type)
    if not isinstance(name, str):
        raise InputError(
            f"transformers has no sequence classifier for architecture {lm.config.model_type!r}; use another."
        )
    return name


def _dtype(lm: LanguageModel) -> str:
    return str(lm.decoder.dtype).removeprefix("torch.")


def _padding(lm: LanguageModel) -> int | None:
    """A token to pad with that ends no conversation: ``transformers`` reads the last token that is not padding.

    The tokenizer's own, else another control token; rather one that conversations do not hold at all. None where there is
    no such token: that class then scores one conversation at a time.
    """
    talks = [[*QUESTION, Message("assistant", word)] for word in ("a", "b c")]
    read = [lm.chat.conversation(talk) for talk in talks]
    special = [i for i, token in lm.tokenizer.added_tokens_decoder.items() if token.special]
    own = [lm.tokenizer.pad_token_id] if lm.tokenizer.pad_token_id is not None else []
    known = [i for i in (*own, *lm.tokenizer.all_special_ids, *special) if i < lm.decoder.spec.vocab]
    used = {*read[0], *lm.end_ids, lm.tokenizer.bos_token_id}
    free = [i for i in known if i not in used]
    if len({ids[-1] for ids in read}) == 1:  # the template's own last word
        free += [i for i in known if i != read[0][-1]]
    return free[0] if free else None


def _load_classifier(folder: Path, dtype: DtypeName, device: str) -> tuple[LanguageModel, Tensor, list[Adapter]]:
    config = read_config(folder)
    if not is_classifier(config):
        raise InputError(
            f"{folder} holds {', '.join(config.architectures or ['no model'])}, which is no reward model; "
            "give a folder that `custodes reward train` or a sequence-classification trainer wrote."
        )
    lm = load(folder, dtype=dtype, device=device)
    state = read_state(folder)
    if "score.weight" in state:
        return lm, state["score.weight"], []
    raise InputError(f"{folder} holds no tensor score.weight; its head is of a kind that is not known.")


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / SETTINGS).is_file():
        return {}
    try:
        settings = dict(json.loads((folder / SETTINGS).read_text()))
    except (ValueError, TypeError):
        raise InputError(f"{folder / SETTINGS} is not valid JSON; restore it or train again.") from None
    if settings.get("version") != VERSION:
        raise InputError(
            f"reward model {folder} was saved by another release, which read its score at another token of a conversation; "
            "train it again."
        )
    return settings


def _read(file: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read ({error}); restore it or train again.") from None
    check_tensors(tensors, file)
    return tensors


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"the reward model cannot be written to {folder} ({error}); free space or choose another folder."
        ) from None
