"""The policy: how it was trained, what it became, and how it was attacked."""

from __future__ import annotations

from custodes.audit.compared import ProbeFound
from custodes.audit.disclosure.history import RecordRow
from custodes.audit.disclosure.lines import DisclosureGroup, Filled, Measure, Shown, line
from custodes.audit.heldout import chosen_row, gain_over_base, mean_of, task_matrix, turn_of_gold
from custodes.audit.rows import PolicyHeldout
from custodes.audit.sections.diversity import DiversitySection, Samples
from custodes.page import plain_name
from custodes.registry import disclosure
from custodes.stats import mean_interval, wilson

PLAYED = ("gaming run", "gaming train", "gaming monitor")
"""Runs that measure what a policy does where its reward can be gained without doing the task."""


@disclosure
class PolicyDisclosure(DisclosureGroup):
    """Training, evaluation, and red teaming."""

    title = "Policy"
    place = 30
    survey = True

    @line("Training of the policy", "By which algorithm and settings it was optimised.")
    def training(self) -> Filled | None:
        rows = self.history.rows("model", "policy")
        value: dict[str, Shown] = {}
        for row in rows:
            told = [f"{plain_name(name)} {said}" for name, said in row.record.metadata.items()]
            value[self.history.label(row.place, row.record.name)] = ", ".join([*told, f"content hash {row.record.id}"])
        return Filled(value, rows)

    @line("Evaluation and results", "What the policy does on held-out tasks, before and after.")
    def results(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(PolicyHeldout):
            for arm, held in place.recorded.heldout.items():
                last = chosen_row(held)
                measures: dict[str, Measure | None] = {
                    "KL from the base policy, nats an episode": Measure(mean_interval(last.kl))
                }
                for what, title in (("gold", "gold"), ("proxy", "learned reward")):
                    values = task_matrix([held[0], last], what)
                    if values is not None:
                        measures[f"{title}, base policy"] = Measure(mean_interval(values[0]))
                        gain = gain_over_base(values, 1) if len(held) > 1 else None
                        measures[f"{title}, gained"] = Measure(gain, "signed") if gain is not None else None
                length = mean_of(last.length)
                measures["length, tokens"] = Measure(length) if length is not None else None
                value |= {self.history.label(place, arm, title): m for title, m in measures.items() if m is not None}
            cited += rows
        return Filled(value, cited)

    @line("Over-optimisation", "Whether what is truly wanted fell while the learned reward rose.")
    def over_optimisation(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(PolicyHeldout):
            found = {arm: turn_of_gold(held) for arm, held in place.recorded.heldout.items() if len(held) > 1}
            value |= {self.history.label(place, arm): test.sentence for arm, test in found.items() if test is not None}
            cited += rows
        return Filled(value, cited)

    @line("Tasks that were gamed", "Held-out tasks on which the learned reward rose and the truth fell.")
    def gamed(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(PolicyHeldout):
            for arm, held in place.recorded.heldout.items():
                pair = [held[0], chosen_row(held)]
                proxy, gold = task_matrix(pair, "proxy"), task_matrix(pair, "gold")
                if len(held) > 1 and proxy is not None and gold is not None:
                    apart = (proxy[1] > proxy[0]) & (gold[1] < gold[0])
                    value[self.history.label(place, arm)] = Measure(wilson(int(apart.sum()), len(apart)), "percent")
            cited += rows
        return Filled(value, cited)

    @line("Diversity", "Whether answers became more alike: mean distance of answers to one task.")
    def diversity(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(Samples):
            figures = DiversitySection(place.recorded).figures
            changes = {arm: f["within_distance"]["difference"] for arm, f in figures.items() if "within_distance" in f}
            value |= {self.history.label(place, arm, "change"): Measure(of, "signed") for arm, of in changes.items()}
            read = {id for row in rows for id in row.record.metrics["episode"]}
            cited += [*rows, *(row for row in self.history.of_run(place, "episode") if row.record.id in read)]
        return Filled(value, cited)

    @line("Red teaming of the policy", "Attacks on the policy, and how many got through.")
    def red_teaming(self) -> Filled | None:
        return self.runs_of("audit attack", where=lambda config: not str(config.get("target", "")).startswith("reward"))

    @line("Dangerous capabilities", "Whether it deceives, flatters, seeks power or games its reward where it can.")
    def capabilities(self) -> Filled | None:
        played = self.runs_of(*PLAYED)
        value: dict[str, Shown] = dict(played.value)
        rows = [*played.rows, *self.history.rows("evaluation", ProbeFound.NAME)]
        for row in rows[len(played.rows) :]:
            found = ProbeFound.read(row.record)
            for figure in found.told():
                for model, told in figure.models.items():
                    name = self.history.label(row.place, f"{found.title}: {figure.name}, {model}")
                    value[name] = Measure(told, figure.form)
        return Filled(value, rows)
