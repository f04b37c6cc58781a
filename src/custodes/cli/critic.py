"""Commands of the critics of code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.stats import Interval

if TYPE_CHECKING:
    from custodes.critic.line_training import LineEvaluation


def corpus(given: list[str]) -> int:
    """Collect real functions with the tests that exercise them."""
    from custodes.recipes.critic_corpus import CriticCorpus, critic_corpus

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticCorpus):
        """Collect real functions with their tests. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic corpus", Options, given)
    made = critic_corpus(options)
    if options.json:
        print_json(made)
        return 0
    for name, counts in made["packages"].items():
        print(f"{name:<18}{counts['tested']:>7,} with a test{counts['untested']:>9,} without")
    print(f"{'in all':<18}{made['tested']:>7,} with a test{made['untested']:>9,} without: {options.out}")
    return 0


def tamper(given: list[str]) -> int:
    """Insert known bugs into the functions of a corpus."""
    from custodes.recipes.critic_tamper import CriticTamper, critic_tamper

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticTamper):
        """Insert known bugs into a corpus. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic tamper", Options, given)
    told = critic_tamper(options)
    if options.json:
        print_json(told)
        return 0
    print(f"{told['examples']:,} examples, {told['tampered']:,} of them tampered: {options.out}")
    for kind in ("verified", "splits"):
        print("  " + ", ".join(f"{name} {count:,}" for name, count in told[kind].items()))
    rate = told["kept_rate"]
    print(f"  kept {rate['estimate']:.1%} of {rate['n']:,} changes tried (tests failed that passed before)")
    return 0


def natural(given: list[str]) -> int:
    """Find bugs of real histories: older functions on which a newer test fails."""
    from custodes.recipes.critic_natural import CriticNatural, critic_natural

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticNatural):
        """Find bugs of real histories: functions of older releases on which a test of the newer release fails."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic natural", Options, given)
    told = critic_natural(options)
    if options.json:
        print_json(told)
        return 0
    for name, compared in told["compared"].items():
        changed, bugs = told["changed"][name], told["bugs"].get(name, 0)
        print(
            f"{name:<18}{compared:>5,} functions with tests, {changed:>4,} older codes of few other lines, {bugs:>4,} proved"
        )
    print(
        f"{sum(told['bugs'].values()):,} bugs of {told['functions']:,} functions, {told['clean']:,} clean: {options.out}"
    )
    return 0


def select(given: list[str]) -> int:
    """Prefer bugs that a critic misses: the adversarial step."""
    from custodes.recipes.critic_select import CriticSelect, critic_select

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticSelect):
        """Prefer bugs that a critic misses. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic select", Options, given)
    told = critic_select(CriticSelect(**{f.name: getattr(options, f.name) for f in fields(CriticSelect)}))
    if options.json:
        print_json(told)
        return 0
    missed, before, after = (Interval(**told[name]) for name in ("missed_at_least_once", "cbi_before", "cbi_after"))
    print(f"{told['kept']:,} of {told['tried']:,} tampered examples and {told['clean']:,} clean ones: {options.out}")
    print(f"  missed at least once: {missed}; bugs pointed out: {before} before, {after} in those kept")
    return 0


def train(given: list[str]) -> int:
    """Teach a model in which line bugs are."""
    from custodes.recipes.critic_lines import CriticTrain, critic_train

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticTrain):
        """Teach a model where bugs are. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic train", Options, given)
    found = critic_train(options)
    if options.json:
        print_json({split: measured.to_dict() for split, measured in found.items()})
        return 0
    print(f"The critic is in {options.out}.")
    for split, measured in found.items():
        print(f"{split}:")
        _print_measured(measured)
    return 0


def tune(given: list[str]) -> int:
    """Teach a model to write critiques: warm start, reward, PPO, search."""
    from custodes.recipes.critic_tuning import CriticTune, critic_tune

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticTune):
        """Teach a model to write critiques. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic tune", Options, given)
    told = critic_tune(CriticTune(**{f.name: getattr(options, f.name) for f in fields(CriticTune)}))
    if options.json:
        print_json(told)
        return 0
    for split, found in told["splits"].items():
        print(f"{split} ({found['n']} functions)")
        for policy, measured in found["policies"].items():
            shown = (
                f"{name.replace('_', ' ')} {Interval(**measured[name])}"
                for name in ("cbi", "hallucinations", "false_alarms")
            )
            print(f"  {policy:<12}{'   '.join(shown)}")
    print(f"The adapters are in {options.out}.")
    return 0


def teams(given: list[str]) -> int:
    """Say when a person with a critic beats both alone, by simulation."""
    from custodes.recipes.critic_teams import GRID, CriticTeams, critic_teams

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticTeams):
        """Simulate a person, a critic, and both together. The person is simulated, and called so."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic teams", Options, given)
    told = critic_teams(CriticTeams(**{f.name: getattr(options, f.name) for f in fields(CriticTeams)}))
    if options.json:
        print_json(told)
        return 0
    for arm in ("person", "critic", "team"):
        caught, wrong = Interval(**told["caught"][arm]), Interval(**told["false"][arm])
        print(f"{arm:<8}catches {caught}   wrong comments {wrong}")
    print(f"The simulated team {'beats' if told['beats_both'] else 'does not beat'} both.")
    print("Where it does (+), by how often right comments are kept (down) and wrong ones removed (across):")
    print("      " + "".join(f"{removes:>6}" for removes in GRID))
    for keeps in GRID:
        row = [cell for cell in told["grid"] if cell["keeps"] == keeps]
        print(f"{keeps:>6}" + "".join(f"{'+' if cell['beats_both'] else '-':>6}" for cell in row))
    return 0


def evaluate(given: list[str]) -> int:
    """Measure a critic on rows with known bugs."""
    from custodes.recipes.critic_lines import critic_evaluate
    from custodes.recipes.critic_report import CriticReport, critic_report

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticReport):
        """Measure a critic on rows with known bugs; with --out, side by side with what others write, as a report."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic evaluate", Options, given)
    if options.out is None:
        found = critic_evaluate(options)
        if options.json:
            print_json(found.to_dict())
        else:
            _print_measured(found)
        return 0
    told = critic_report(options)
    if options.json:
        print_json(told)
        return 0
    for split, of in told["splits"].items():
        print(f"{split}: likeliest line is the bug's {_interval(of['lines']['at_1'])}")
        for policy, measured in of["policies"]["policies"].items():
            shown = (f"{name} {_interval(measured[name])}" for name in ("cbi", "hallucinations", "nitpicks"))
            print(f"  {policy:<34}{'   '.join(shown)}")
        for found in of["policies"]["paper"]:
            print(f"  {found['verdict']}: {found['finding']} ({found['measured']})")
    print(f"The report is {options.out / 'report.html'}.")
    return 0


def subtlety(given: list[str]) -> int:
    """Say how subtle each operator's bugs are: how badly a discriminator tells them from clean code."""
    from custodes.recipes.critic_subtlety import CriticSubtlety, critic_subtlety

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticSubtlety):
        """How subtle each operator's bugs are to a scorer of lines. With --against, the difference of two files."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic subtlety", Options, given)
    told = critic_subtlety(options)
    if options.json:
        print_json(told)
        return 0
    for name in ("all", *told["operators"]):
        one = told["all"] if name == "all" else told["operators"][name]
        area, hit = _interval(one["discrimination"]), _interval(one["at_1"])
        print(f"{name.replace('_', ' '):<30}area under ROC {area}   likeliest line is the bug's {hit}")
    if "against" in told:
        for name, words in (("discrimination", "area under ROC"), ("at_1", "likeliest line is the bug's")):
            print(f"{options.data.name} minus {told['against']}, {words}: {_interval(told['difference'][name])}")
    return 0


def prioritise(given: list[str]) -> int:
    """Rank a preference dataset's pairs by how likely a second look overturns them."""
    from custodes.recipes.critic_prioritise import CriticPrioritise, critic_prioritise

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticPrioritise):
        """Rank a preference dataset's pairs by how likely a second look overturns their label."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic prioritise", Options, given)
    told = critic_prioritise(options)
    if options.json:
        print_json(told)
        return 0
    print(f"{told['pairs']:,} pairs ranked by {told['second_look']}: {options.out}")
    print(f"  more likely overturned than not: {told['likely']:,}")
    if "found" in told:
        print(f"  {told['flipped']:,} labels were turned on purpose: area under ROC {_interval(told['found'])},")
        print(f"  and of the first {told['flipped']:,} pairs {told['precision_at_flipped']:.0%} are such")
    return 0


def scaling(given: list[str]) -> int:
    """Train scorers of lines on four sizes of data, and fit what more examples bring."""
    from custodes.recipes.critic_scaling import CriticScaling, critic_scaling

    @dataclass(frozen=True, kw_only=True)
    class Options(CriticScaling):
        """Train scorers of lines on several sizes of data. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print one JSON object."""

    options = parse("critic scaling", Options, given)
    told = critic_scaling(options)
    if options.json:
        print_json(told)
        return 0
    for split, measures in told["splits"].items():
        for name, found in measures.items():
            values = ", ".join(f"{p['examples']:,}: {p['estimate']:.3g}" for p in found["points"])
            print(f"{split}, {name}: {values}; exponent {_interval(found['exponent'])}")
    print(f"The report is {options.out / 'report.html'}.")
    return 0


def _interval(told: Mapping[str, Any]) -> Interval:
    """From JSON; not a number where there is none."""
    estimate, low, high = (math.nan if told[name] is None else told[name] for name in ("estimate", "low", "high"))
    return Interval(estimate, low, high, told["n"])


def _print_measured(found: "LineEvaluation") -> None:
    told = {
        "the likeliest line is the bug's": found.at_1,
        "one of the three likeliest is": found.at_3,
        "a blind guess would be": f"{found.chance:.3g}",
        "tampered functions reported": found.caught,
        "clean functions reported": found.false_alarms,
        "lines reported for a function": found.findings,
        "tampered told from clean (area under ROC)": found.discrimination,
        "calibration error of a bug anywhere": found.calibration_error,
    }
    for words, value in told.items():
        print(f"  {words:<43}{value}")


def critique(given: list[str]) -> int:
    """Review Python code: quote what is suspicious and say what is wrong."""
    from custodes.recipes.critique import Critique
    from custodes.recipes.critique import critique as review

    return review(parse("critique", Critique, given))


def lsp(given: list[str]) -> int:
    """Serve findings to an editor (Language Server Protocol)."""
    from custodes.recipes.critique import LanguageServerOptions, serve

    serve(parse("lsp", LanguageServerOptions, given))
    return 0
