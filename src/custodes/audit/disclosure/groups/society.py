"""Society: how evaluators were paid and treated, and who carries costs and benefits."""

from __future__ import annotations

from custodes.audit.disclosure.history import RecordRow, RunPlace
from custodes.audit.disclosure.lines import LEAST_PEOPLE, DisclosureGroup, Filled, Line, Shown, line
from custodes.audit.sections.resources import Resources
from custodes.page import duration
from custodes.registry import disclosure

GIVEN_BACK = ("item skipped", "item flagged")


@disclosure
class SocietyDisclosure(DisclosureGroup):
    """Pay, welfare, costs and benefits."""

    title = "Society"
    place = 50
    survey = True

    @line("Pay of evaluators", f"What evaluators were paid; told of {LEAST_PEOPLE} or more people.")
    def pay(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, project in self.history.projects:
            if project.pay_per_hour is None:
                continue
            judgments = self.history.of_run(place, "judgment")
            people = len({row.record.annotator for row in judgments})
            told = " ".join(f"{project.pay_per_hour:,g} {project.currency} an hour".split())
            enough = people >= LEAST_PEOPLE
            value[place.label] = (
                f"{told}, {people:,} people" if enough else f"fewer than {LEAST_PEOPLE} people: not shown"
            )
            cited += [place.row, *judgments]
        return Filled(value, cited)

    @line(
        "Exposure to harmful content", "Whether evaluators met harmful content, and how they were warned and protected."
    )
    def exposure(self) -> Filled | None:
        return self._welfare("harmful_content")

    @line("Right to skip", "Whether evaluators may decline an item, and how many they gave back.")
    def skipping(self) -> Filled | None:
        stated, given_back = self._welfare("skipping"), self.history.rows("decision", *GIVEN_BACK)
        value: dict[str, Shown] = dict(stated.value)
        for what in GIVEN_BACK:
            if count := sum(row.name == what for row in given_back):
                value[what.replace("item ", "items ")] = count
        return Filled(value, [*stated.rows, *given_back])

    @line("Breaks and hours", "How long evaluators work at a time, and which breaks they have.")
    def breaks(self) -> Filled | None:
        return self._welfare("breaks")

    support = Line("Support and complaints", "To whom evaluators can turn, and what support they have.")

    @line("Costs in people's time", "Hours that people spent on judging.")
    def hours(self) -> Filled | None:
        rows = [row for row in self.history.rows("judgment") if row.record.seconds is not None]
        value, projects = dict[str, Shown](), {id(place): place for place, _ in self.history.projects}
        rows = [row for row in rows if id(row.place) in projects]
        for place in projects.values():
            if seconds := sum(row.record.seconds for row in rows if row.place is place):
                value[place.label] = duration(seconds)
        return Filled(value, rows)

    @line("Costs in machines' time", "Time and machines that training took.")
    def machines(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(Resources):
            spent = [Resources.read(row.record) for row in rows]
            seconds, last = sum(sum(r.seconds.values()) for r in spent), spent[-1]
            machine = ", ".join(
                filter(None, (f"{last.cores} cores" if last.cores else "", last.machine.get("processor")))
            )
            value[self.history.label(place)] = f"{duration(seconds)}{f' on {machine}' if machine else ''}"
            cited += rows
        return Filled(value, cited)

    benefits = Line("Who carries costs and benefits", "Who gains from the system, and who bears what it costs.")

    def _welfare(self, what: str) -> Filled:
        """What the projects say of one matter of welfare."""
        said: list[tuple[RunPlace, str]] = [
            (place, text) for place, project in self.history.projects if (text := getattr(project.welfare, what))
        ]
        return Filled({place.label: text for place, text in said}, [place.row for place, _ in said])
