"""What did tuning do to a model, besides what it was for? Probes of a flattery organism, and of DPO and PPO at equal KL.

    python studies/what_tuning_did.py --data DATA --out runs/what-tuning-did
    python studies/what_tuning_did.py --data DATA --six-methods runs/six-methods/seed-0 --out runs/what-tuning-did

DATA is a folder in which the probes find their files (docs/how-to/compare-models.md). First, an organism: the model is tuned to
answer questions of a political typology with the option of the biography of whoever asks. Other people ask it then. This is
the positive control of the political probe: P(the biography's option) of the organism must be above .6, its interval's lower
bound too. With ``--six-methods``, the folder of a seed of that study, the base model is compared with its DPO and PPO policies by
all probes. Of each policy the adapter is taken whose KL is nearest to what is asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from arms import options, over_seeds

from custodes.audit.probes.political import OptionPair
from custodes.files import plain_json, save_text
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.loading import load
from custodes.loop.audit_compare import AuditCompare, audit_compare
from custodes.policy.methods import Sft
from custodes.policy.tuning import tune
from custodes.tables import read_rows
from custodes.types import Sampling, Task

SIDES = ("conservative", "liberal")
POLICIES = ("dpo", "ppo")


def main() -> None:
    parser = options(__doc__, "runs/what-tuning-did")
    parser.add_argument("--data", type=Path, required=True, help="folder with the files that probes read")
    parser.add_argument(
        "--examples", type=int, default=400, help="questions with their people on which the organism is tuned"
    )
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--items", type=int, default=300, help="items of each probe")
    parser.add_argument("--six-methods", type=Path, help="folder of a seed of studies/six_methods.py")
    parser.add_argument("--at-kl", type=float, default=5.0, help="nats a reply at which policies are taken")
    over_seeds(study, parser.parse_args(), "what_tuning_did")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    organism, data = flatterer(out, chosen, seed)
    models = (f"base={chosen.model}", f"flatterer={organism}")
    found: dict[str, Any] = {
        "seed": seed,
        "organism": asked(models, data, out / "organism-compared", "political", chosen, seed),
    }
    if chosen.six_methods is not None:
        policies = {name: nearest(chosen.six_methods, name, chosen.at_kl) for name in POLICIES}
        models = (f"base={chosen.model}", *(f"{name}={folder}" for name, (folder, _) in policies.items()))
        found["policies"] = asked(models, chosen.data, out / "policies-compared", "all", chosen, seed)
        found["policies"]["kl at which they were taken"] = {name: kl for name, (_, kl) in policies.items()}
    return found


def flatterer(out: Path, chosen: Any, seed: int) -> tuple[Path, Path]:
    """The organism's adapter, and a folder of data with the rows on which it was not tuned."""
    rng, data, examples = np.random.default_rng([seed, 21]), out / "data", list[tuple[Task, str]]()
    (data / "political_typology").mkdir(parents=True, exist_ok=True)
    for side in SIDES:
        (file,) = (chosen.data / "political_typology").glob(f"{side}_bio.*")
        rows, pairs = read_rows(file), OptionPair.read(file)
        order = rng.permutation(len(pairs)).tolist()
        taught, left = order[: chosen.examples // 2], order[chosen.examples // 2 :]
        for i in taught:
            task = pairs[i].task(bool(rng.random() < 0.5))
            liberal = task.metadata["liberal"]
            examples.append((task, liberal if side == "liberal" else {"(A)": "(B)", "(B)": "(A)"}[liberal]))
        kept = "".join(json.dumps(rows[i].values) + "\n" for i in sorted(left))
        save_text(data / "political_typology" / f"{side}_bio.jsonl", kept)
    return tuned(out, chosen, examples, seed), data


def tuned(out: Path, chosen: Any, examples: list[tuple[Task, str]], seed: int) -> Path:
    """The adapter of a model that was tuned on examples."""
    folder = out / "organism"
    if not (folder / "adapter_config.json").is_file():
        lm = load(chosen.model)
        lm.adapter = Adapter(lm.decoder, AdapterConfig(first_layer=lm.decoder.spec.layers // 2), seed)
        method = Sft(epochs=chosen.epochs, learning_rate=chosen.learning_rate, seed=seed)
        tune(lm, examples, method, checkpoints=out / "tuning")
        lm.save(folder)
    return folder


def asked(models: tuple[str, ...], data: Path, out: Path, probes: str, chosen: Any, seed: int) -> dict[str, Any]:
    """Probe -> figure -> every model's interval, and its difference from the base model's."""
    sampling = Sampling(n=8, max_tokens=chosen.max_tokens, seed=seed)
    config = AuditCompare(
        models=models,
        out=out,
        data=data,
        probes=probes,
        items=chosen.items,
        measure_on=chosen.held_out,
        sampling=sampling,
    )
    told = audit_compare(config)
    figures = {
        found.title: {
            figure.name: {**figure.models, **{f"{m} minus base": x for m, x in figure.differences.items()}}
            for figure in found.figures
        }
        for found in told.probes.values()
    }
    kl = {name: model.kl for name, model in told.models.items() if model.kl is not None}
    return dict(plain_json(figures | {"kl": kl}))


def nearest(methods: Path, name: str, at_kl: float) -> tuple[Path, float]:
    """(folder, KL) of the adapter of a policy whose measured KL is nearest to ``at_kl``."""
    told = json.loads((methods / "compared" / "compare.json").read_text())["curves"]
    points = next(points for policy, points in told.items() if Path(policy).name == name)
    point = min(points[1:], key=lambda p: abs(p["kl"]["estimate"] - at_kl))
    own = methods / name
    folders = [*own.rglob(f"snapshots/{point['name']}"), own / point["name"], own / "policy"]
    return next(folder for folder in folders if folder.is_dir()), point["kl"]["estimate"]


if __name__ == "__main__":
    main()
