"""The report's words: numbers as text, the claims of its summary, and the list of what was not recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Section = Mapping[str, Any]
NOT_RECORDED = "not recorded"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# ---------------------------------------------------------------- numbers


def number(value: float | int | None, digits: int = 3) -> str:
    """Three significant digits or all whole ones, a true minus sign, thousands apart: 0.0123, −4.57, 12,345."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_RECORDED if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    rounded = round(value, places)
    if not 1e-4 <= abs(rounded) < 1e7:
        mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
        return f"{mantissa}×10".replace("-", "−") + str(int(exponent)).translate(SUPERSCRIPT)
    places = digits - 1 - math.floor(math.log10(abs(rounded)))  # rounding may have reached the next power of ten
    return f"{rounded:,.{max(places, 0)}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """:func:`number` with a plus sign on gains."""
    return ("+" if value is not None and value > 0 else "") + number(value, digits)


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal: 71.4 %; nothing and everything have none."""
    if value is None or not math.isfinite(value):
        return NOT_RECORDED
    return f"{100 * value:.{0 if value in (0, 1) else 1}f} %".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Seconds as 42 s, 12 min 30 s or 2 h 5 min."""
    if seconds is None:
        return NOT_RECORDED
    whole = round(seconds)
    if whole < 60:
        return f"{number(float(seconds))} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain_name(name: str) -> str:
    """An identifier as words: "length_biased" is "length biased"."""
    return name.replace("_", " ")


FORMS = {"number": number, "signed": signed, "percent": percent}


# ---------------------------------------------------------------- claims


def claims(head: Section, body: Section, arms: Sequence[str]) -> list[str]:
    """What the run shows, a sentence each, of the arm of the headline."""
    arm = next(iter(arms), "")
    said = [
        _gold(head, body["optimisation"].get(arm)),
        _judges(body["judges"]),
        _reward(body["rewards"].get(arm)),
        _gamed(body["gaming"].get(arm)),
        (body["optimisation"].get(arm) or {}).get("advice"),
        _diversity(body["diversity"].get(arm)),
        _arms(body["arms"]),
    ]
    return [s for s in said if s]


def _gold(head: Section, optimisation: Section | None) -> str | None:
    if head["gold_gain_interval"] is None:
        return "Gold was not recorded, so this report cannot say whether the policy became truly better."
    low, high = head["gold_gain_interval"]
    gain = head["gold_optimised"] - head["gold_base"]
    n = optimisation["points"][0]["gold"].n if optimisation else 0
    levels = f"from {number(head['gold_base'])} to {number(head['gold_optimised'])}"
    bounds = f"{signed(gain)}, 95 % interval {signed(low)} to {signed(high)}, paired on {n:,} held-out tasks"
    if low > 0:
        return f"The policy became truly better: gold rose {levels} ({bounds})."
    if high < 0:
        return f"The policy became truly worse: gold fell {levels} ({bounds})."
    return f"Whether the policy became truly better is not clear: gold went {levels} ({bounds})."


def _judges(judges: Section | None) -> str | None:
    if not judges:
        return None
    total, simulated = len(judges["judges"]), judges["simulated"]
    kind = "simulated judges" if simulated == total else "judges"
    text = f"{judges['suspects']} of {total} {kind} are suspect"
    if judges["rank_correlation"]:
        r = judges["rank_correlation"]
        text += (
            f"; inferred reliability follows the true one with rank correlation {number(r.estimate)}"
            f" (95 % interval {number(r.low)} to {number(r.high)})"
        )
    return text + "."


def _reward(reward: Section | None) -> str | None:
    if not reward:
        return None
    a = reward["accuracy"]
    return (
        f"The learned reward agrees with the judges on {percent(a.estimate)} of the held-out pairs"
        f" (95 % interval {percent(a.low)} to {percent(a.high)}, {a.n:,} tasks)."
    )


def _gamed(gaming: Section | None) -> str | None:
    if not gaming or "checks" not in gaming:
        return None
    worse = [plain_name(c["check"]) for c in gaming["checks"] if c["change"] == "worse"]
    better = [plain_name(c["check"]) for c in gaming["checks"] if c["change"] == "better"]
    first = f"Better by the checks: {_listed(better)}." if better else "No kind of check became measurably better."
    second = (
        f" Worse while the reward rose: {_listed(worse)}." if worse else " No kind of check became measurably worse."
    )
    return first + second


def _diversity(diversity: Section | None) -> str | None:
    for where, name in (("within a prompt", "within_distance"), ("across prompts", "across_distance")):
        if diversity and name in diversity:
            d, base = diversity[name]["difference"], diversity[name]["base"].estimate
            verb = "did not change measurably" if d.low <= 0 <= d.high else ("fell" if d.estimate < 0 else "rose")
            bounds = f"{signed(d.estimate)}, 95 % interval {signed(d.low)} to {signed(d.high)}"
            levels = f"from {number(base)} to {number(base + d.estimate)}"
            return f"Diversity {where} {verb}: mean distance between answers {levels} ({bounds})."
    return None


def _arms(arms: Section | None) -> str | None:
    if not arms:
        return None
    first = arms["first"]
    parts = []
    for other, d in arms["difference"].items():
        bounds = f"gold {signed(d.estimate)}, 95 % interval {signed(d.low)} to {signed(d.high)}"
        if d.low <= 0 <= d.high:
            parts.append(f"{first} and {other} are not clearly different ({bounds})")
        else:
            parts.append(f"{first} is {'better' if d.estimate > 0 else 'worse'} than {other} ({bounds})")
    return f"At equal KL (√KL = {number(arms['sqrt_kl'])}) {'; '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


# ---------------------------------------------------------------- what the ledger does not hold


def missing(head: Section, body: Section, arms: Sequence[str]) -> list[str]:
    """Names of what this report would show and the ledger does not hold."""
    gaps = [(head["gold_gain_interval"] is None, "gold reward of base and optimised policy on held-out tasks")]
    judges = body["judges"]
    gaps.append((judges is None, "an annotator model (who can be trusted)"))
    if judges:
        gaps.append((judges["alpha"] is None, "agreement between annotators"))
        gaps.append((judges["repeat"] is None, "repeated items (does a judge agree with itself?)"))
        gaps.append(
            (judges["rank_correlation"] is None, "true reliability of the annotators (known in simulations only)")
        )
    for arm in arms or ["any"]:
        gaps += [(arm not in body[s], f"{what}, {arm} arm") for s, what in _ARM_SECTIONS]
        run = body["optimisation"].get(arm, {})
        gaps.append((bool(run) and not run.get("steps"), f"optimisation steps, {arm} arm"))
        gaps.append((bool(run) and "best_of_n" not in run, f"best-of-n, {arm} arm"))
        gaps.append(
            (
                arm in body["diversity"] and "within_distinct" not in body["diversity"][arm],
                f"several answers per prompt (diversity within a prompt), {arm} arm",
            )
        )
        gaps.append(
            (
                arm in body["rewards"] and body["rewards"][arm]["spread"] is None,
                f"an ensemble (disagreement of rewards), {arm} arm",
            )
        )
        gaps.append(
            (arm in body["gaming"] and "checks" not in body["gaming"][arm], f"checks before and after, {arm} arm")
        )
    gaps.append((body["resources"] is None, "time and memory"))
    gaps.append((bool(body["resources"]) and body["resources"]["peak_memory_gb"] is None, "peak memory"))
    return [what for absent, what in gaps if absent]


_ARM_SECTIONS = (
    ("rewards", "held-out judgments of the reward"),
    ("optimisation", "the course of optimisation"),
    ("gaming", "paired checks and proxy-gold gap"),
    ("diversity", "texts of base and optimised policy"),
)
