"""The quality desk: what a lead needs to see to stand by a project's judgments, computed again whenever there are more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nicegui import ui

from custodes.web.access import LEADS, Rule
from custodes.web.desk import mark_of, quality_of
from custodes.web.flags import answer_flag
from custodes.web.projects import quarantine
from custodes.web.screens import charts, widgets
from custodes.web.screens.charts import interval_text, points_text, rate_text
from custodes.web.screens.pages import page
from custodes.web.screens.tags import tag
from custodes.web.screens.visits import Visit
from custodes.web.work import projects_of

LOOK = 3.0
"""Seconds between looks for something new."""
MOST_FLAGS = 100
"""Flags that are shown; those without an answer come first."""
REST = 10.0
"""Seconds at most in which nothing is computed after the last time: as long as that took."""
HABITS = {
    "side": "always one side",
    "pace": "too fast to have read",
    "gold": "gold items wrong",
    "same": "always the same answer",
}
NODDING = 0.05
"""Share of answers accepted within half a second from which somebody is shown among what needs a look."""
BIASES = "Reliability, and the log-odds that somebody adds for the answer shown first and for the longer one; 95 % intervals."
Numbers = Mapping[str, Any]
"""What :func:`~custodes.web.desk.quality_of` gives, or a part of it."""


@page("/desk", Rule(LEADS), "Quality", nav="Quality")
async def desks(visit: Visit) -> None:
    projects = await visit.do(projects_of, visit.database, visit.account)
    if not projects:
        tag("p", "There is no project yet.", "empty")
    with tag("ul", cls="cards"):
        for project in projects:
            with tag("li", cls="card"):
                tag("h2", project["title"])
                tag("p", "Ended" if project["closed"] is not None else "Open", "quiet")
                about = f"Quality desk of {project['title']}"
                tag("a", "Quality desk", "button", href=f"/desk/{project['name']}", aria_label=about)


@page("/desk/{project}", Rule(LEADS), "Quality")
async def desk(visit: Visit, project: str) -> None:
    ui.timer(LOOK, _Desk(visit, project).look, immediate=True)


class _Desk:
    """One project's numbers on a page that stays up to date."""

    def __init__(self, visit: Visit, project: str) -> None:
        self.visit, self.project = visit, project
        self.mark, self.rests_until = "", 0.0
        self.person, self.lifts, self.flag = "", False, ""  # what the dialogs are about
        self.region = widgets.LiveRegion(cls="stack", aria_busy="true")
        with self.region.drawn_again():
            tag("p", "Counting...", "empty", role="status")
        self.quarantine_text = self._dialog(
            "quarantine", "Quarantine", "Why? It stands in the ledger.", "Decide", self._decide
        )
        answer = "Your answer; whoever raised the flag sees it."
        self.flag_text = self._dialog("answering", "Answer a flag", answer, "Send", self._reply)

    def _dialog(self, id_: str, title: str, label: str, button: str, do: Callable[[str], Any]) -> Any:
        with widgets.dialog(id_, title):
            text = tag("p")
            widgets.text_line(label, maxlength=500, id=f"{id_}-text", autofocus="")
            js = f"() => emit(document.getElementById('{id_}-text').value)"
            widgets.button(button, cls="main").on("click", lambda e: do(str(e.args).strip()), js_handler=js)
        return text

    async def look(self, _: Any = None) -> None:
        """Computes and shows everything again if there is something new."""
        async with self.visit.telling():
            mark = await self.visit.do(mark_of, self.visit.database, self.project)
            began = time.monotonic()
            if mark == self.mark or began < self.rests_until:
                return
            numbers = await self.visit.do(quality_of, self.visit.database, self.project)
            drawings = await self.visit.do(_charts, numbers)
            self.mark, ended = mark, time.monotonic()
            self.rests_until = ended + min(REST, ended - began)
            self.visit.heading.set_text(f"Quality: {numbers['title']}")
            self.region.root.set(aria_busy=None)
            with self.region.drawn_again():
                self._show(numbers, drawings)

    async def _done(self, sentence: str, dialog: str) -> None:
        self.mark, self.rests_until = "", 0.0
        await self.look()
        self.visit.say(sentence)
        self.visit.close(dialog, f"{dialog}-text")

    async def _reply(self, text: str) -> None:
        async with self.visit.telling():
            await self.visit.do(answer_flag, self.visit.database, self.project, self.flag, text, self.visit.account.id)
            await self._done("answered.", "answering")

    async def _decide(self, why: str) -> None:
        if not why:
            return self.visit.say("say why.", bad=True)
        async with self.visit.telling():
            decision = (self.project, self.person, why, self.visit.account.id, self.lifts)
            await self.visit.do(quarantine, self.visit.database, *decision)
            await self._done("lifted." if self.lifts else "in quarantine.", "quarantine")

    def _ask(self, person: str, name: str, lift: bool) -> None:
        self.person, self.lifts = person, lift
        effect = "count again, in exports and here" if lift else "are left out of exports and of this desk"
        self.quarantine_text.set_text(f"The judgments of {name} {effect}.{'' if lift else ' Nothing is deleted.'}")
        self.visit.browser("custodes.open('quarantine')")

    def _quarantine(self, person: str, name: str, text: str = "Quarantine", cls: str = "", place: str = "") -> None:
        """A button that asks about somebody, once in each place of the page."""
        lift = text == "Lift"
        about = f"Lift the quarantine of {name}" if lift else f"Quarantine {name}"
        act = f"{about} {person} {place}"
        self.region.button(text, act, partial(self._ask, person, name, lift), cls=cls, aria_label=about)

    def _answer(self, flag: Numbers) -> None:
        self.flag = flag["id"]
        self.flag_text.set_text(f"It says: {flag['why']}")
        self.visit.browser("custodes.open('answering')")

    # ------------------------------------------------------------ what is shown

    def _show(self, numbers: Numbers, drawings: Mapping[str, str]) -> None:
        _figures(numbers)
        with widgets.card("Needs a look"):
            self._suspects(numbers)
        if numbers["flags"]:
            with widgets.card("Flags"):
                self._flags(numbers)
        with widgets.card("People"):
            self._people(numbers)
        with tag("div", cls="halves"):
            for title, there, draw in (
                ("Agreement", True, partial(_agreement, numbers)),
                ("Coverage", True, partial(_coverage, numbers["coverage"])),
                (
                    "Accuracy against budget",
                    numbers["accuracy_by_budget"],
                    partial(_budget, numbers, drawings["budget"]),
                ),
                ("Throughput", drawings["rhythm"], partial(ui.html, drawings["rhythm"], sanitize=False)),
                ("Help", numbers["assisted"], partial(_help, numbers)),
                ("Help at random", numbers["helped"], partial(_help_by_chance, numbers)),
                ("Persons, critic and teams", numbers["teams"], partial(_teams, numbers["teams"])),
                ("Models", numbers["standings"], partial(_standings, numbers["standings"])),
            ):
                if there:
                    with widgets.card(title):
                        draw()

    def _suspects(self, numbers: Numbers) -> None:
        people, clusters, habits = numbers["people"], numbers.get("clusters", []), numbers["habits"]
        rung = {p: about for p, about in people.items() if (about.get("alarm") or {}).get("rang_at") is not None}
        stamps = {p: of["rubber_stamps"] for p, of in (numbers["assisted"] or {"people": {}})["people"].items()}
        nods = {p: share for p, share in stamps.items() if (share["estimate"] or 0) > NODDING}
        if not rung and not nods and not clusters and not habits:
            level = numbers.get("alarm_level")
            more = f" An honest annotator's alarm ever rings with a probability of {level:g} at most." if level else ""
            tag("p", f"No alarm has rung.{more}", "quiet")
        for person, about in rung.items():
            title = f"{about['name']}: {about['alarm']['suspicion']}"
            self._suspect(title, _alarm(about, numbers["alarm_level"]), [person], people, "alarm")
        for person, held in habits.items():
            title = f"{people[person]['name']}: {', '.join(HABITS[habit['what']] for habit in held)}"
            self._suspect(title, [habit["said"] for habit in held], [person], people, "habit")
        for n, cluster in enumerate(clusters):
            names = ", ".join(people[p]["name"] for p in cluster["people"])
            text = f"z = {cluster['z']:.1f} over {cluster['shared']:,} shared pairs, p = {cluster['p']:.3f}."
            self._suspect(f"{names} {cluster['meaning']}", [text], cluster["people"], people, f"cluster {n}")
        for person, share in nods.items():
            text = f"Within half a second of seeing it: {rate_text(share)}."
            self._suspect(f"{people[person]['name']} accepts help unread", [text], [], people, "")

    def _suspect(self, title: str, texts: Sequence[str], persons: Sequence[str], people: Numbers, place: str) -> None:
        with tag("div", cls="suspect"):
            tag("h3", title)
            for text in texts:
                tag("p", text)
            with tag("div", cls="actions-row"):
                for person in persons:
                    name = people[person]["name"]
                    self._quarantine(person, name, f"Quarantine {name}", "danger", place)

    def _flags(self, numbers: Numbers) -> None:
        """What people said is wrong with items: the unanswered first."""
        rows: list[list[Any]] = []
        for flag in numbers["flags"][:MOST_FLAGS]:
            by = flag["by"]
            name = numbers["people"].get(by, {}).get("name") or numbers["names"].get(by, by)
            about = {"aria_label": f"Answer the flag of {name}"}
            ask = partial(self.region.button, "Answer", f"flag {flag['id']}", partial(self._answer, flag), **about)
            rows.append([name, flag["why"], flag["prompt"], flag["answer"] or ask])
        widgets.table(["Person", "Says", "Item", "Answer"], rows, label="Flags")
        if len(numbers["flags"]) > MOST_FLAGS:
            tag("p", f"And {len(numbers['flags']) - MOST_FLAGS:,} more.", "quiet")

    def _people(self, numbers: Numbers) -> None:
        compared = "agreement" in numbers
        biases = ["Reliability (1 is typical)", "First shown", "Longer"] if compared else []
        rows = [self._person(person, about, compared) for person, about in numbers["people"].items()]
        head = ["Person", "Judgments", "Seconds", "Gold right", *biases, "Alarm", "Decision"]
        widgets.table(head, rows, label="People")
        if compared:
            tag("p", BIASES, "quiet")
        for label, people in numbers["labels"].items():
            rows = [[numbers["people"].get(p, {"name": p})["name"], rate_text(of)] for p, of in people.items()]
            widgets.table(["Person", "Right, by Dawid and Skene"], rows, f"Label: {label}")

    def _person(self, person: str, about: Numbers, compared: bool) -> list[Any]:
        name, median, alarm = about["name"], about.get("median_seconds"), about.get("alarm") or {}
        row = [name, about["judgments"], "–" if median is None else f"{median:,.1f}"]
        row.append(partial(_cell, rate_text(about["gold"]) if "gold" in about else "–"))
        if compared:
            drawing = charts.whisker(about.get("reliability"), -1, 3, at=0)
            row.append(partial(_cell, interval_text(about["reliability"]) if "reliability" in about else "–", drawing))
            for what in ("position", "length"):
                row.append(partial(_cell, interval_text(about[what]) if what in about else "–"))
        rang = f"after {alarm['rang_at']:,}" if alarm.get("rang_at") is not None else "no"
        out = about["quarantined"]
        row.append(f"in quarantine: {about.get('why', '')}" if out else rang)
        return [*row, partial(self._quarantine, person, name, "Lift" if out else "Quarantine")]


def _charts(numbers: Numbers) -> dict[str, str]:
    """The charts, which take a moment."""
    rhythm, accuracy = numbers["effort"]["rhythm"], numbers["accuracy_by_budget"]
    return {
        "rhythm": charts.rhythm_chart(rhythm) if rhythm["counts"] else "",
        "budget": charts.budget_chart(accuracy) if len(accuracy) > 1 else "",
    }


def _figures(numbers: Numbers) -> None:
    effort, coverage, gold = numbers["effort"], numbers["coverage"], numbers["gold"]
    money = f" {effort['currency']}".rstrip()
    complete = f"{coverage['complete']:,} of {coverage['items']:,}"
    rows = [
        ("Items handed in", f"{effort['items']:,}", f"by {effort['people']:,} people in {effort['hours']:.1f} hours"),
        ("Items complete", complete, f"{coverage['overlap']} judgments each"),
        ("Seconds per item", *_estimate(effort["seconds"], 0, "people")),
        ("Items per hour of work", *_estimate(effort["per_hour"], 0, "people")),
    ]
    if effort["cost"] is not None:
        rows.append(("Cost per item", *_estimate(effort["cost"], 2, "people", money)))
        rows.append(("Cost so far", f"{effort['cost_in_all']:,.2f}{money}", f"{effort['items']:,} items"))
    if "agreement" in numbers:
        rows.append(("Agreement (alpha)", *_estimate(numbers["agreement"]["alpha"], 2, "pairs")))
    if gold["n"]:
        percent = {end: None if gold[end] is None else 100 * gold[end] for end in ("estimate", "low", "high")}
        rows.append(("Gold items right", *_estimate({**gold, **percent}, 0, "answers", " %")))
    with tag("dl", cls="figures"):
        for name, value, more in rows:
            with tag("div", cls="figure"):
                tag("dt", name)
                tag("dd", value)
                tag("dd", more)


def _estimate(interval: Numbers, digits: int, of: str, unit: str = "") -> tuple[str, str]:
    """(the estimate, its interval and count)."""
    if interval["estimate"] is None:
        return "–", "no data yet"
    ends = ("?" if interval[end] is None else f"{interval[end]:,.{digits}f}" for end in ("low", "high"))
    return f"{interval['estimate']:,.{digits}f}{unit}", f"[{', '.join(ends)}], {interval['n']:,} {of}"


def _alarm(about: Numbers, level: float) -> list[str]:
    """What an alarm says of somebody."""
    alarm = about["alarm"]
    odds = math.exp(min(alarm["evidence"], 60.0))
    return [
        f"The alarm rang after {alarm['rang_at']:,} answers. The evidence against honest answers is {odds:,.0f} to 1. The alarm "
        f"rings from {1 / level:,.0f} to 1, which honest answers ever reach with a probability of {level:g} at most.",
        f"Reliability {interval_text(about['reliability'])}; gold items right: {rate_text(about['gold'])}.",
        f"Without these judgments {100 * alarm['flipped']:.0f} % of the compared pairs would be decided the other way.",
    ]


def _cell(text: str, chart: str = "") -> None:
    """A number with its interval and count below it, and a chart where there is one."""
    estimate, bracket, rest = text.partition(" [")
    tag("div", estimate, "estimate")
    if bracket:
        tag("small", f"[{rest}")
    if chart:
        ui.html(chart, sanitize=False)


def _agreement(numbers: Numbers) -> None:
    rows = [
        [f"{row['kind'].capitalize()}: {row['axis']}", interval_text(row["alpha"])]
        for row in numbers["agreement_by_axis"]
    ]
    for field, groups in numbers.get("agreement_by_group", {}).items():
        rows += [[f"Within {field}: {group or 'not given'}", interval_text(alpha)] for group, alpha in groups.items()]
    if rows:
        widgets.table(["Krippendorff's alpha", "1 is perfect, 0 chance"], rows)
    if "effects" in numbers:
        effects = numbers["effects"]
        rows = [["Same answer when shown again", rate_text(numbers["repeats"])]]
        rows.append(["Shown first (log-odds, everybody)", interval_text(effects["position"])])
        if "length" in effects:
            longer = "Longer by a standard deviation (log-odds), bias or quality"
            rows.append([longer, interval_text(effects["length"])])
        widgets.table(["Consistency and bias", ""], rows)


def _coverage(coverage: Numbers) -> None:
    columns = (("begun", "items"), ("complete", "items"), ("prompts_begun", "prompts"))
    rows = [
        [name, *(f"{of[part]:,} of {of[whole]:,}" for part, whole in columns)]
        for name, of in [("All", coverage), *coverage["by_tag"].items()]
    ]
    widgets.table(["Tag", "Items begun", "complete", "Prompts begun"], rows)
    widgets.table(["Judgments", "Items"], list(coverage["by_judgments"].items()))


def _budget(numbers: Numbers, drawing: str) -> None:
    if drawing:
        ui.html(drawing, sanitize=False)
    cost = (numbers["effort"]["cost"] or {}).get("estimate")
    head, rows = ["Judgments per item", "Majority is right"], []
    for row in numbers["accuracy_by_budget"]:
        price = [] if cost is None else [f"{row['judgments'] * cost:,.2f}"]
        rows.append([str(row["judgments"]), rate_text(row), *price])
    widgets.table(head if cost is None else [*head, "Cost per item"], rows, "On gold items")


def _help(numbers: Numbers) -> None:
    of = numbers["assisted"]
    rows = [
        ["Answers given twice", f"{of['answers']:,}"],
        ["Changed after the help", rate_text(of["changed"])],
        ["Followed, of those who had said otherwise", rate_text(of["followed"])],
        ["Seconds with the help", interval_text(of["seconds"], 1)],
        ["Accepted within half a second", rate_text(of["rubber_stamps"])],
        ["Right alone (gold)", rate_text(of["accuracy"]["alone"])],
        ["Right with help (gold)", rate_text(of["accuracy"]["assisted"])],
        ["Gain, paired", points_text(of["gain"])],
    ]
    widgets.table(["Judged alone, then with help", ""], rows)
    names = {p: about["name"] for p, about in numbers["people"].items()}
    each = [[names.get(p, p), rate_text(o["rubber_stamps"]), rate_text(o["followed"])] for p, o in of["people"].items()]
    widgets.table(["Person", "Within half a second", "Followed"], each)
    if of["teams"]:
        _teams(of["teams"])


def _help_by_chance(numbers: Numbers) -> None:
    of = numbers["helped"]
    contrasts = {
        "Right (gold)": of["right"],
        "Right where the help is right": of["right_about"]["right help"],
        "Right where the help is wrong": of["right_about"]["wrong help"],
        "Rated below the highest": of["below_top"],
        "Says what the help says": of["agrees"],
        "Seconds": of["seconds"],
    }
    rows = []
    for name, row in contrasts.items():
        if row is not None:
            text, points = (interval_text, interval_text) if name == "Seconds" else (rate_text, points_text)
            rows.append([name, text(row["alone"]), text(row["helped"]), points(row["more"])])
    answers = [f"{of['answers'][arm]:,}" for arm in ("alone", "helped")]
    widgets.table(["Help given by a coin", "Alone", "With help", "Difference"], [["Judgments", *answers, ""], *rows])


def _teams(teams: Numbers) -> None:
    arms = ("person", "critic", "team")
    rows = [[arm, rate_text(teams["caught"][arm]), interval_text(teams["false"][arm])] for arm in arms]
    widgets.table(["Who", "Right, or bug caught", "Wrong"], rows)
    more = [[f"Team and {arm}", interval_text(teams["more_caught"][arm])] for arm in arms[:2]]
    widgets.table(["Difference, paired by problem", "More caught"], more)
    if teams["note"]:
        tag("p", teams["note"])


def _standings(standings: Numbers) -> None:
    for name, elo in standings.get("elo", {}).items():
        tag("p", f"{name}: Elo {interval_text(elo, 0)}")
    for axis, models in standings["means"].items():
        lowest, highest = standings["scales"][axis]
        widgets.table(
            ["Model", f"{axis}, {lowest:g} to {highest:g}"], [[name, interval_text(of)] for name, of in models.items()]
        )
