"""Commands of the critics of code."""

from dataclasses import dataclass

from custodes.cli.options import parse
from custodes.cli.words import print_json


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
