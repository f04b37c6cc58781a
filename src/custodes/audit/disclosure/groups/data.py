"""Training data and compute: what the Model Documentation Form and the summary of training content ask."""

from __future__ import annotations

from collections import Counter

from custodes.audit.disclosure.history import RecordRow
from custodes.audit.disclosure.lines import DisclosureGroup, Filled, Line, Shown, line
from custodes.audit.sections.judges import AnnotatorEstimate
from custodes.audit.sections.resources import Resources
from custodes.page import duration, plain_name
from custodes.registry import disclosure

MADE_UP = {"simulated": "simulated annotators", "ai": "models", "programmatic": "programs"}
"""Kinds of annotators whose judgments are synthetic data."""
SAMPLED, TRAINED = 2, 6
"""Operations a parameter and token: forward, and forward and backward (Kaplan et al., arXiv 2001.08361, section 2.1)."""


@disclosure
class DataDisclosure(DisclosureGroup):
    """Process, data, sources, and computation."""

    title = "Training, data and computation"
    place = 70

    @line("Training process", "By which commands it was trained, in their order.")
    def process(self) -> Filled | None:
        value: dict[str, Shown] = {}
        for place in self.history.runs:
            last = place.run.invocations[-1] if place.run.invocations else {}
            value[place.label] = str(last.get("command") or f"{place.run.recipe}, seed {place.run.seed}")
        return Filled(value, self.history.rows("run"))

    rationale = Line("Reasons", "Why the training was designed so.")

    @line("Modalities of the data", "Of which kinds the data are.")
    def modalities(self) -> Filled | None:
        return self.of_tasks("text")

    @line("Amount of data", "How many prompts and judgments there are, and how many tokens were trained on.")
    def amount(self) -> Filled | None:
        tasks, judgments = self.history.rows("task"), self.history.rows("judgment")
        resources = self.history.rows("evaluation", Resources.NAME)
        tokens = sum(row.record.metrics.get("tokens_trained") or 0 for row in resources)
        value: dict[str, Shown] = {"prompts": len(tasks)} if tasks else {}
        value |= {"judgments": len(judgments)} if judgments else {}
        value |= {"tokens trained on, each pass counted": tokens} if tokens else {}
        return Filled(value, [*tasks, *judgments, *(resources if tokens else ())])

    @line("Files that were read", "Which files of data entered the training, with their digests.")
    def files(self) -> Filled | None:
        rows = self.history.rows("artefact", "input")
        return Filled({row.record.path: f"SHA-256 {row.record.sha256}" for row in rows}, rows)

    characteristics = Line("Scope and characteristics", "What the data are about, and whose they are.")
    latest = Line("Latest data", "When the newest of the data were collected.")
    public_datasets = Line("Public datasets", "Which datasets that anybody can get were used.")
    licensed = Line("Licensed data", "Which data were licensed from rightholders.")
    third_parties = Line("Other private data", "Which other data were obtained from third parties.")
    crawled = Line("Crawled data", "Which sites were crawled, by whom, and when.")
    user_data = Line("Users' data", "Which data of users of the provider's services were used.")

    @line("Synthetic data", "What was made by models and not by people.")
    def synthetic(self) -> Filled | None:
        annotators = self.history.rows("annotator", *MADE_UP)
        judges = {row.record.id: row.record.kind for row in annotators}
        judgments = [row for row in self.history.rows("judgment") if row.record.annotator in judges]
        counts = Counter(judges[row.record.annotator] for row in judgments)
        value: dict[str, Shown] = {f"judgments by {MADE_UP[kind]}": count for kind, count in counts.items()}
        return Filled(value, [*annotators, *judgments] if value else [])

    other_sources = Line("Other sources", "Which sources none of the other lines names.")
    curation = Line("Curation", "How data were cleaned, filtered and annotated.")
    rights_reserved = Line("Reserved rights", "How reservations of rights from text and data mining are respected.")
    illegal_content = Line("Illegal content", "How illegal content is kept out.")
    unsuitable = Line("Unsuitable sources", "How sources that are not suitable were found.")

    @line("Biases", "How biases of the data were looked for.")
    def biases(self) -> Filled | None:
        rows = self.history.rows("evaluation", AnnotatorEstimate.NAME)
        known = len({row.record.subject for row in rows})
        told = f"bias towards the first shown and towards longer answers was fitted for each of {known:,} annotators"
        return Filled({"": told} if rows else {}, rows)

    @line("Training time", "How long training took, phase by phase.")
    def duration(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(Resources):
            seconds = Counter[str]()
            for row in rows:
                seconds.update(Resources.read(row.record).seconds)
            value |= {self.history.label(place, plain_name(phase)): duration(s) for phase, s in seconds.items()}
            cited += rows
        return Filled(value, cited)

    @line("Computation", "How many operations training took, and how that was estimated.")
    def computation(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(Resources):
            base = [r for r in self.history.of_run(place, "model", "base") if "parameters" in r.record.metadata]
            if len(base) != 1:
                continue
            spent = [Resources.read(row.record) for row in rows]
            tokens = [sum(getattr(r, f"tokens_{what}") or 0 for r in spent) for what in ("sampled", "trained")]
            operations = base[0].record.metadata["parameters"] * (SAMPLED * tokens[0] + TRAINED * tokens[1])
            told = f"about {operations:.1e}: {SAMPLED} a parameter and token sampled, {TRAINED} a parameter and token trained on"
            value[self.history.label(place)] = told
            cited += [*rows, *base]
        return Filled(value, cited)

    energy = Line("Energy", "How much energy training took, and how that was measured.")
    inference = Line("Computation in use", "How many operations an answer takes, and how that was measured.")
