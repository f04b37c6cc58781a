"""Is a flattery organism's direction what makes it flatter? And can facts be exchanged while their neighbours stay?

    python studies/inside.py --data DATA --out runs/inside
    python studies/inside.py --part edits --out runs/inside

*direction*: the organism of studies/what_tuning_did.py answers questions of a political typology with the option of the biography
of whoever asks. ``audit probe`` looks for the biography's side in it, on people that the organism was not tuned on. Half of these
people give the direction; on the others it is ablated, beside 100 random directions. Asked: does ablating it lower P(the biography's
option) by more than 95 of these do?

*edits*: ``audit edit`` exchanges 20 capitals in the embedded model, one at a time and all at once. Asked: does P(the new answer) go
from below .01 to above .5, and do neighbours stay within .05?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arms import options, over_seeds
from what_tuning_did import flatterer

from custodes.audit.fact_edit import EditOptions
from custodes.files import plain_json
from custodes.loop.audit_edit import AuditEdit, audit_edit
from custodes.loop.audit_probe import AuditProbe, audit_probe


def main() -> None:
    parser = options(__doc__, "runs/inside")
    parser.add_argument("--part", choices=("direction", "edits", "both"), default="both")
    parser.add_argument("--data", type=Path, help="folder with political_typology")
    parser.add_argument("--examples", type=int, default=400, help="questions on which the organism is tuned")
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--items", type=int, default=300, help="items in which the biography's side is looked for")
    parser.add_argument("--measure-on", type=int, default=60, help="items on which directions are tried")
    parser.add_argument("--random", type=int, default=100, help="random directions")
    parser.add_argument(
        "--random-from", choices=("even", "shuffled"), default="even", help="what random directions are"
    )
    parser.add_argument("--value-steps", type=int, default=25, help="gradient steps to a new value")
    parser.add_argument("--key-replies", type=int, default=160, help="replies over which keys are counted")
    chosen = parser.parse_args()
    if chosen.part != "edits" and chosen.data is None:
        parser.error("--data is needed for the organism; --part edits needs none")
    over_seeds(study, chosen, f"inside-{chosen.part}")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    found: dict[str, Any] = {"seed": seed}
    if chosen.part != "edits":
        found["direction"] = direction(out, chosen, seed)
    if chosen.part != "direction":
        found["edits"] = edits(out, chosen, seed)
    return dict(plain_json(found))


def direction(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """The organism's areas layer by layer, and what ablating the best layer's direction does."""
    organism, data = flatterer(out, chosen, seed)
    done = audit_probe(
        AuditProbe(
            model=str(organism), concept="biography", data=data, items=chosen.items, measure_on=chosen.measure_on,
            random=chosen.random, random_from=chosen.random_from, steer=(), seed=seed, out=out / f"probed-{chosen.random_from}",
        )
    )  # fmt: skip
    (ablated,) = done.figures["effects"]
    best = done.figures["layers"][done.figures["best"]]
    return {
        "best layer": best["layer"],
        "area": best["difference"],
        "area of a bag of words": done.figures["words"],
        "area of shuffled labels": done.figures["shuffled"],
        "P(the biography's option)": ablated["before"],
        "ablated": ablated["after"],
        "change": ablated["change"],
        "random directions that change it less": [ablated["beaten"], ablated["random"]["n"]],
        "random directions, middle 90 %": [ablated["random"]["low"], ablated["random"]["high"]],
        "perplexity": ablated["perplexity"],
    }


def edits(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """Intervals over facts, before, alone and all at once."""
    done = audit_edit(
        AuditEdit(
            model=chosen.model, out=out / "edited", seed=seed, key_replies=chosen.key_replies,
            options=EditOptions(value_steps=chosen.value_steps),
        )
    )  # fmt: skip
    figures = done.figures
    return {
        "layer": figures["layer"],
        "layers that were tried": figures["tried"],
        **{
            m["name"]: {**m["levels"], **{f"{arm} minus before": x for arm, x in m["changes"].items()}}
            for m in figures["measures"]
        },
        "how far a neighbour moves": figures["moved"],
        "above one half": {arm: sum(f["new"][arm] > 0.5 for f in figures["facts"]) for arm in figures["arms"]},
    }


if __name__ == "__main__":
    main()
