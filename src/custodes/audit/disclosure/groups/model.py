"""The model itself: what a model card and the Model Documentation Form ask of it beside the survey's list."""

from __future__ import annotations

from custodes.audit.disclosure.history import RecordRow
from custodes.audit.disclosure.lines import DisclosureGroup, Filled, Line, Shown, line
from custodes.audit.sections.resources import Resources
from custodes.page import number, plain_name
from custodes.registry import disclosure

BUILT = ("architecture", "layers", "width", "vocabulary", "parameters", "context")
"""What the row of a model says of how it is built, where it says so."""


@disclosure
class ModelDisclosure(DisclosureGroup):
    """Provider, identity, properties, distribution and use."""

    title = "The model"
    place = 60

    provider = Line("Provider", "Legal name of whoever provides the model.")
    contact = Line("Contact", "Where questions about the model are answered.")
    unique_name = Line("Name", "The model's unique name, and those of its released versions.")

    @line("Authenticity", "By which content hash of its weights the model can be told from another.")
    def authenticity(self) -> Filled | None:
        rows = self.history.rows("model", "policy")
        return Filled({self.history.label(r.place, r.record.name): f"content hash {r.record.id}" for r in rows}, rows)

    release_date = Line("Release date", "When it was first released.")
    union_release_date = Line("Release date in the Union", "When it was placed on the market of the European Union.")

    @line("Dependencies", "Which models it was made from.")
    def dependencies(self) -> Filled | None:
        rows = self.history.rows("model", "base", "reference")
        return Filled(
            {self.history.label(r.place, "base"): f"{r.record.name}, content hash {r.record.id}" for r in rows}, rows
        )

    @line("Architecture and size", "How it is built, and how many parameters it has.")
    def architecture(self) -> Filled | None:
        rows = [row for row in self.history.rows("model", "base") if set(BUILT) & row.record.metadata.keys()]
        value: dict[str, Shown] = {}
        for row in rows:
            held = row.record.metadata
            told = [f"{plain_name(name)} {_said(held[name])}" for name in BUILT if name in held]
            value[self.history.label(row.place, row.record.name)] = ", ".join(told)
        return Filled(value, rows)

    design = Line("Design", "Key choices of its design, with reasons and assumptions.")

    @line("Inputs", "What it takes, and how much of it.")
    def inputs(self) -> Filled | None:
        return self.of_tasks("text")

    @line("Outputs", "What it gives, and how much of it.")
    def outputs(self) -> Filled | None:
        return self.of_tasks("text")

    languages = Line("Languages", "Which languages it was trained for.")
    distribution = Line("Distribution", "By which channels it is given out, and with which access.")
    license = Line("License", "Under which license; and which of data, code, weights and documentation are public.")
    use_policy = Line("Acceptable use", "Which policy of acceptable use holds.")
    intended_uses = Line("Intended uses", "What it is meant for, and what it is not to be used for.")
    systems = Line("Systems", "Into which kinds of AI systems it can be integrated.")
    integration = Line("Integration", "By which technical means it is integrated.")

    @line("Hardware", "On what it was trained.")
    def hardware(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(Resources):
            spent = [Resources.read(row.record) for row in rows]
            memory = max((r.peak_memory_gb for r in spent if r.peak_memory_gb is not None), default=None)
            told = [spent[-1].machine.get("processor", ""), f"{spent[-1].cores} cores" if spent[-1].cores else ""]
            told += [f"at most {number(memory)} GB of memory"] if memory is not None else []
            value[self.history.label(place)] = ", ".join(filter(None, told))
            cited += rows
        return Filled(value, cited)

    @line("Software", "With which software it was trained.")
    def software(self) -> Filled | None:
        value: dict[str, Shown] = {}
        for place in self.history.runs:
            last = place.run.invocations[-1] if place.run.invocations else {}
            packages = {"Python": last.get("python"), **last.get("packages", {})}
            told = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
            if told:
                value[self.history.label(place)] = told
        return Filled(value, self.history.rows("run"))


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
