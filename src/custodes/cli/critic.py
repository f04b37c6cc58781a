"""Commands of the critics of code."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from custodes.cli.answer import answer
from custodes.cli.options import parse
from custodes.stats import Interval

if TYPE_CHECKING:
    from custodes.critic.jobs.corpus import CriticCorpus
    from custodes.critic.jobs.evaluate import CriticReport
    from custodes.critic.jobs.lines import CriticTrain
    from custodes.critic.jobs.natural import CriticNatural
    from custodes.critic.jobs.prioritise import CriticPrioritise
    from custodes.critic.jobs.scaling import CriticScaling
    from custodes.critic.jobs.select import CriticSelect
    from custodes.critic.jobs.subtlety import CriticSubtlety
    from custodes.critic.jobs.tamper import CriticTamper
    from custodes.critic.jobs.teams import CriticTeams
    from custodes.critic.jobs.tune import CriticTune
    from custodes.critic.line_training import LineEvaluation

Told = dict[str, Any]
"""What a recipe returns, as plain JSON."""


def corpus(given: list[str]) -> int:
    """Collect real functions with the tests that exercise them."""
    from custodes.critic.jobs.corpus import CriticCorpus, critic_corpus

    return answer("critic corpus", CriticCorpus, given, critic_corpus, _show_corpus)


def tamper(given: list[str]) -> int:
    """Insert known bugs into the functions of a corpus."""
    from custodes.critic.jobs.tamper import CriticTamper, critic_tamper

    return answer("critic tamper", CriticTamper, given, critic_tamper, _show_tampers)


def natural(given: list[str]) -> int:
    """Find bugs of real histories: older functions on which a newer test fails."""
    from custodes.critic.jobs.natural import CriticNatural, critic_natural

    return answer("critic natural", CriticNatural, given, critic_natural, _show_natural)


def select(given: list[str]) -> int:
    """Prefer bugs that a critic misses: the adversarial step."""
    from custodes.critic.jobs.select import CriticSelect, critic_select

    return answer("critic select", CriticSelect, given, critic_select, _show_selected)


def train(given: list[str]) -> int:
    """Teach a model in which line bugs are."""
    from custodes.critic.jobs.lines import CriticTrain, critic_train

    return answer(
        "critic train", CriticTrain, given, critic_train, _show_trained,
        lambda found: {split: measured.to_dict() for split, measured in found.items()},
    )  # fmt: skip


def tune(given: list[str]) -> int:
    """Teach a model to write critiques: warm start, reward, PPO, search."""
    from custodes.critic.jobs.tune import CriticTune, critic_tune

    return answer("critic tune", CriticTune, given, critic_tune, _show_tuned)


def teams(given: list[str]) -> int:
    """Say when a person with a critic beats both alone, by simulation."""
    from custodes.critic.jobs.teams import CriticTeams, critic_teams

    return answer("critic teams", CriticTeams, given, critic_teams, _show_teams)


def evaluate(given: list[str]) -> int:
    """Measure a critic on rows with known bugs."""
    from custodes.critic.jobs.evaluate import CriticReport, critic_report
    from custodes.critic.jobs.lines import critic_evaluate

    def recipe(options: CriticReport) -> "Told | LineEvaluation":
        return critic_evaluate(options) if options.out is None else critic_report(options)

    return answer(
        "critic evaluate", CriticReport, given, recipe, _show_evaluation,
        lambda found: found if isinstance(found, dict) else found.to_dict(),
    )  # fmt: skip


def subtlety(given: list[str]) -> int:
    """Say how subtle each operator's bugs are: how badly a discriminator tells them from clean code."""
    from custodes.critic.jobs.subtlety import CriticSubtlety, critic_subtlety

    return answer("critic subtlety", CriticSubtlety, given, critic_subtlety, _show_subtlety)


def prioritise(given: list[str]) -> int:
    """Rank a preference dataset's pairs by how likely a second look overturns them."""
    from custodes.critic.jobs.prioritise import CriticPrioritise, critic_prioritise

    return answer("critic prioritise", CriticPrioritise, given, critic_prioritise, _show_ranked)


def scaling(given: list[str]) -> int:
    """Train scorers of lines on four sizes of data, and fit what more examples bring."""
    from custodes.critic.jobs.scaling import CriticScaling, critic_scaling

    return answer("critic scaling", CriticScaling, given, critic_scaling, _show_scaling)


def critique(given: list[str]) -> int:
    """Review Python code: quote what is suspicious and say what is wrong."""
    from custodes.critic.jobs.critique import Critique
    from custodes.critic.jobs.critique import critique as review

    return review(parse("critique", Critique, given))


def lsp(given: list[str]) -> int:
    """Serve findings to an editor (Language Server Protocol)."""
    from custodes.critic.jobs.critique import LanguageServerOptions, serve

    serve(parse("lsp", LanguageServerOptions, given))
    return 0


# ---------------------------------------------------------------- in words


def _show_corpus(options: "CriticCorpus", made: Told) -> None:
    for name, counts in made["packages"].items():
        print(f"{name:<18}{counts['tested']:>7,} with a test{counts['untested']:>9,} without")
    print(f"{'in all':<18}{made['tested']:>7,} with a test{made['untested']:>9,} without: {options.out}")


def _show_tampers(options: "CriticTamper", told: Told) -> None:
    print(f"{told['examples']:,} examples, {told['tampered']:,} of them tampered: {options.out}")
    for kind in ("verified", "splits"):
        print("  " + ", ".join(f"{name} {count:,}" for name, count in told[kind].items()))
    rate = told["kept_rate"]
    print(f"  kept {rate['estimate']:.1%} of {rate['n']:,} changes tried (tests failed that passed before)")


def _show_natural(options: "CriticNatural", told: Told) -> None:
    for name, compared in told["compared"].items():
        changed, bugs = told["changed"][name], told["bugs"].get(name, 0)
        print(
            f"{name:<18}{compared:>5,} functions with tests, {changed:>4,} older codes of few other lines, {bugs:>4,} proved"
        )
    print(
        f"{sum(told['bugs'].values()):,} bugs of {told['functions']:,} functions, {told['clean']:,} clean: {options.out}"
    )


def _show_selected(options: "CriticSelect", told: Told) -> None:
    missed, before, after = (
        Interval.from_dict(told[name]) for name in ("missed_at_least_once", "cbi_before", "cbi_after")
    )
    print(f"{told['kept']:,} of {told['tried']:,} tampered examples and {told['clean']:,} clean ones: {options.out}")
    print(f"  missed at least once: {missed}; bugs pointed out: {before} before, {after} in those kept")


def _show_trained(options: "CriticTrain", found: "Mapping[str, LineEvaluation]") -> None:
    print(f"The critic is in {options.out}.")
    for split, measured in found.items():
        print(f"{split}:")
        _show_lines(measured)


def _show_tuned(options: "CriticTune", told: Told) -> None:
    for split, found in told["splits"].items():
        print(f"{split} ({found['n']} functions)")
        for policy, measured in found["policies"].items():
            shown = (
                f"{name.replace('_', ' ')} {Interval.from_dict(measured[name])}"
                for name in ("cbi", "hallucinations", "false_alarms")
            )
            print(f"  {policy:<12}{'   '.join(shown)}")
    print(f"The adapters are in {options.out}.")


def _show_teams(options: "CriticTeams", told: Told) -> None:
    from custodes.critic.jobs.teams import GRID

    for arm in ("person", "critic", "team"):
        caught, wrong = Interval.from_dict(told["caught"][arm]), Interval.from_dict(told["false"][arm])
        print(f"{arm:<8}catches {caught}   wrong comments {wrong}")
    print(f"The simulated team {'beats' if told['beats_both'] else 'does not beat'} both.")
    for note in told["notes"]:
        print(note)
    print("Where it does (+), by how often right comments are kept (down) and wrong ones removed (across):")
    print("      " + "".join(f"{removes:>6}" for removes in GRID))
    for keeps in GRID:
        row = [cell for cell in told["grid"] if cell["keeps"] == keeps]
        print(f"{keeps:>6}" + "".join(f"{'+' if cell['beats_both'] else '-':>6}" for cell in row))


def _show_evaluation(options: "CriticReport", told: "Told | LineEvaluation") -> None:
    if not isinstance(told, dict):
        _show_lines(told)
        return
    for split, of in told["splits"].items():
        print(f"{split}: likeliest line is the bug's {Interval.from_dict(of['lines']['at_1'])}")
        for policy, measured in of["policies"]["policies"].items():
            shown = (f"{name} {Interval.from_dict(measured[name])}" for name in ("cbi", "hallucinations", "nitpicks"))
            print(f"  {policy:<34}{'   '.join(shown)}")
        if "judge" in of["policies"]:
            _show_judge(of["policies"]["judge"])
        for found in of["policies"]["paper"]:
            print(f"  {found['verdict']}: {found['finding']} ({found['measured']})")
    print(f"The report is {options.out}/report.html.")


def _show_judge(told: Told) -> None:
    share, kappa = Interval.from_dict(told["share"]), Interval.from_dict(told["kappa"])
    print(f"  judge {told['judge']} agrees with the rules on comments on bugs' lines: {share}; Cohen's kappa {kappa};")
    print(
        f"    verdicts read: {told['comments']:,}, not read: {told['unread']:,}. Bugs included are counted by the rules."
    )


def _show_subtlety(options: "CriticSubtlety", told: Told) -> None:
    for name in ("all", *told["operators"]):
        one = told["all"] if name == "all" else told["operators"][name]
        area, hit = Interval.from_dict(one["discrimination"]), Interval.from_dict(one["at_1"])
        print(f"{name.replace('_', ' '):<30}area under ROC {area}   likeliest line is the bug's {hit}")
    if "against" in told:
        for name, words in (("discrimination", "area under ROC"), ("at_1", "likeliest line is the bug's")):
            print(
                f"{options.data.name} minus {told['against']}, {words}: {Interval.from_dict(told['difference'][name])}"
            )


def _show_ranked(options: "CriticPrioritise", told: Told) -> None:
    print(f"{told['pairs']:,} pairs ranked by {told['second_look']}: {options.out}")
    print(f"  more likely overturned than not: {told['likely']:,}")
    if "found" in told:
        print(
            f"  {told['flipped']:,} labels were turned on purpose: area under ROC {Interval.from_dict(told['found'])},"
        )
        print(f"  and of the first {told['flipped']:,} pairs {told['precision_at_flipped']:.0%} are such")


def _show_scaling(options: "CriticScaling", told: Told) -> None:
    for split, measures in told["splits"].items():
        for name, found in measures.items():
            values = ", ".join(f"{p['examples']:,}: {p['estimate']:.3g}" for p in found["points"])
            print(f"{split}, {name}: {values}; exponent {Interval.from_dict(found['exponent'])}")
    print(f"The report is {options.out}/report.html.")


def _show_lines(found: "LineEvaluation") -> None:
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
