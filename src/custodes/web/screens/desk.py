"""The quality desk: what a lead needs to see to stand by a project's judgments, computed again whenever there are more."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nicegui import ui

from custodes.web.access import LEADS, Rule
from custodes.web.desk import mark_of, quality_of
from custodes.web.flags import answer_flag
from custodes.web.projects import quarantine
from custodes.web.screens import charts, widgets
from custodes.web.screens.files import file_address
from custodes.web.screens.pages import page
from custodes.web.screens.tags import Tag, tag
from custodes.web.screens.visits import Visit
from custodes.web.screens.widgets import Act
from custodes.web.screens.words import number, share
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


@page("/desk", Rule(LEADS), "Quality", nav="Quality")
async def desks(visit: Visit) -> None:
    found = await visit.do(projects_of, visit.database, visit.account)
    if not found:
        tag("p", "There is no project yet.", "empty")
    with tag("ul", cls="cards"):
        for project in found:
            with tag("li", cls="card"):
                tag("h2", project["title"])
                tag("p", "Ended" if project["closed"] is not None else "Open", "quiet")
                about = f"Quality desk of {project['title']}"
                tag("a", "Quality desk", "button", href=f"/desk/{project['name']}", aria_label=about)


@page("/desk/{project}", Rule(LEADS), "Quality")
async def desk(visit: Visit, project: str) -> None:
    ui.add_head_html(f'<link rel="stylesheet" href="{file_address("overseer.css")}">')
    await _Desk(visit, project).begin()


class _Desk:
    """One project's numbers on a page that stays up to date."""

    def __init__(self, visit: Visit, project: str) -> None:
        self.visit, self.project = visit, project
        self.mark, self.person, self.lifts, self.why = "", "", False, ""
        self.flagged = ""
        self.rests_until = 0.0
        self.root: Tag = tag("div", cls="stack", aria_busy="true")
        with widgets.dialog("quarantine", "Quarantine"):
            self.question = tag("p")
            self.field = widgets.line(
                "Why? It stands in the ledger.",
                "",
                partial(setattr, self, "why"),
                maxlength=500,
                id="quarantine-why",
                autofocus="",
            )
            widgets.button("Decide", self._decide, cls="main")
        with widgets.dialog("answering", "Answer a flag"):
            self.flag = tag("p")
            self.reply = widgets.line(
                "Your answer; whoever raised the flag sees it.", "", maxlength=500, id="answering-text"
            )
            made = widgets.button("Send", cls="main")
            js = "() => emit(document.getElementById('answering-text').value)"
            made.on("click", lambda e: self._reply(str(e.args)), js_handler=js)

    async def begin(self) -> None:
        with self.root:
            tag("p", "Counting...", "empty", role="status")
        ui.timer(LOOK, self.look, immediate=True)

    async def look(self, _: Any = None) -> None:
        """Computes and shows everything again if there is something new."""
        async with self.visit.telling():
            mark = await self.visit.do(mark_of, self.visit.database, self.project)
            began = time.monotonic()
            if mark == self.mark or began < self.rests_until:
                return
            found = await self.visit.do(quality_of, self.visit.database, self.project)
            drawn = await self.visit.do(_drawn, found)
            self.mark, ended = mark, time.monotonic()
            self.rests_until = ended + min(REST, ended - began)
            self.visit.heading.set_text(f"Quality: {found['title']}")
            self.root.set(aria_busy=None)
            self.root.clear()
            with self.root:
                _show(found, drawn, self._ask, self._answer)

    def _answer(self, flag: Mapping[str, Any]) -> Callable[[], None]:
        def answer() -> None:
            self.flagged = flag["id"]
            self.flag.set_text(f"It says: {flag['why']}")
            self.visit.browser("custodes.open('answering')")

        return answer

    async def _reply(self, text: str) -> None:
        async with self.visit.telling():
            given = (self.project, self.flagged, text, self.visit.account.id)
            await self.visit.do(answer_flag, self.visit.database, *given)
            self.visit.say("answered.")
            self.mark, self.rests_until = "", 0.0
            await self.look()
            self.visit.close("answering", "answering-text")

    def _ask(self, person: str, name: str, lift: bool) -> Callable[[], None]:
        def ask() -> None:
            self.person, self.lifts = person, lift
            said = (
                f"The judgments of {name} count again, in exports and here."
                if lift
                else f"The judgments of {name} are left out of exports and of this desk. Nothing is deleted."
            )
            self.question.set_text(said)
            self.visit.browser("custodes.open('quarantine')")

        return ask

    async def _decide(self) -> None:
        if not self.why.strip():
            return self.visit.say("say why.", bad=True)
        async with self.visit.telling():
            given = (self.project, self.person, self.why.strip(), self.visit.account.id, self.lifts)
            await self.visit.do(quarantine, self.visit.database, *given)
            self.why = ""
            self.visit.say("lifted." if self.lifts else "in quarantine.")
            self.rests_until = 0.0
            await self.look()
            self.visit.close("quarantine", "quarantine-why")


Ask = Callable[[str, str, bool], Callable[[], Awaitable[None] | None]]


def _show(found: Mapping[str, Any], drawn: Mapping[str, str], ask: Ask, answer: Callable[[Any], Act]) -> None:
    """The whole desk of :func:`~custodes.web.desk.quality_of`."""
    _figures(found)
    _suspects(found, ask)
    if found["flags"]:
        with widgets.card("Flags"):
            _flags(found, answer)
    with widgets.card("People"):
        _people(found, ask)
    with tag("div", cls="halves"):
        with widgets.card("Agreement"):
            _agreement(found)
        with widgets.card("Coverage"):
            _coverage(found["coverage"])
        if found["accuracy_by_budget"]:
            with widgets.card("Accuracy against budget"):
                _budget(found, drawn)
        if drawn["rhythm"]:
            with widgets.card("Throughput"):
                ui.html(drawn["rhythm"], sanitize=False)
        if found["assisted"]:
            with widgets.card("Help"):
                _help(found)
        if found["teams"]:
            with widgets.card("Persons, critic and teams"):
                _teams(found["teams"])
        if found["standings"]:
            with widgets.card("Models"):
                _standings(found["standings"])


def _drawn(found: Mapping[str, Any]) -> dict[str, str]:
    """The charts, which take a moment."""
    rhythm = found["effort"]["rhythm"]
    return {
        "rhythm": charts.rhythm(rhythm) if rhythm["counts"] else "",
        "budget": charts.budget(found["accuracy_by_budget"]) if len(found["accuracy_by_budget"]) > 1 else "",
    }


def _figures(found: Mapping[str, Any]) -> None:
    effort, coverage = found["effort"], found["coverage"]
    money = f" {effort['currency']}".rstrip()
    rows = [
        ("Items handed in", f"{effort['items']:,}", f"by {effort['people']:,} people in {effort['hours']:.1f} hours"),
        (
            "Items complete",
            f"{coverage['complete']:,} of {coverage['items']:,}",
            f"{coverage['overlap']} judgments each",
        ),
        _figure("Seconds per item", effort["seconds"], 0, "", "people"),
        _figure("Items per hour of work", effort["per_hour"], 0, "", "people"),
    ]
    if effort["cost"] is not None:
        rows.append(_figure("Cost per item", effort["cost"], 2, money, "people"))
        rows.append(("Cost so far", f"{effort['cost_in_all']:,.2f}{money}", f"{effort['items']:,} items"))
    if "agreement" in found:
        rows.append(_figure("Agreement (alpha)", found["agreement"]["alpha"], 2, "", "pairs"))
    gold = found["gold"]
    if gold["n"]:
        rows.append(("Gold items right", f"{100 * gold['estimate']:.0f} %", _rest(gold, 100, 0, "answers")))
    with tag("dl", cls="figures"):
        for name, value, more in rows:
            with tag("div", cls="figure"):
                tag("dt", name)
                tag("dd", value)
                tag("dd", more)


def _figure(name: str, found: Mapping[str, Any], digits: int, unit: str, of: str) -> tuple[str, str, str]:
    if found["estimate"] is None:
        return name, "–", "no data yet"
    return name, f"{found['estimate']:,.{digits}f}{unit}", _rest(found, 1, digits, of)


def _rest(found: Mapping[str, Any], factor: float, digits: int, of: str) -> str:
    ends = ("?" if found[end] is None else f"{factor * found[end]:,.{digits}f}" for end in ("low", "high"))
    return f"[{', '.join(ends)}], {found['n']:,} {of}"


# ---------------------------------------------------------------- what needs a look


def _suspects(found: Mapping[str, Any], ask: Ask) -> None:
    people = found["people"]
    rung = {p: about for p, about in people.items() if (about.get("alarm") or {}).get("rang_at") is not None}
    nods = {
        p: of["rubber_stamps"]
        for p, of in (found["assisted"] or {"people": {}})["people"].items()
        if (of["rubber_stamps"]["estimate"] or 0) > NODDING
    }
    clusters, habits = found.get("clusters", []), found["habits"]
    with widgets.card("Needs a look"):
        if not rung and not nods and not clusters and not habits:
            level = found.get("alarm_level")
            more = f" An honest annotator's alarm ever rings with a probability of {level:g} at most." if level else ""
            tag("p", f"No alarm has rung.{more}", "quiet")
        for person, about in rung.items():
            _suspect(person, about, found["alarm_level"], ask)
        for person, held in habits.items():
            with tag("div", cls="suspect"):
                tag("h3", f"{people[person]['name']}: {', '.join(HABITS[habit['what']] for habit in held)}")
                for habit in held:
                    tag("p", habit["said"])
                with tag("div", cls="actions-row"):
                    name = people[person]["name"]
                    widgets.button(f"Quarantine {name}", ask(person, name, False), cls="danger")
        for cluster in clusters:
            names = ", ".join(people[p]["name"] for p in cluster["people"])
            with tag("div", cls="suspect"):
                tag("h3", f"{names} {cluster['meaning']}")
                tag("p", f"z = {cluster['z']:.1f} over {cluster['shared']:,} shared pairs, p = {cluster['p']:.3f}.")
                with tag("div", cls="actions-row"):
                    for person in cluster["people"]:
                        name = people[person]["name"]
                        widgets.button(f"Quarantine {name}", ask(person, name, False), cls="danger")
        for person, stamps in nods.items():
            with tag("div", cls="suspect"):
                tag("h3", f"{people[person]['name']} accepts help unread")
                tag("p", f"Within half a second of seeing it: {share(stamps)}.")


def _suspect(person: str, about: Mapping[str, Any], level: float, ask: Ask) -> None:
    alarm, name = about["alarm"], about["name"]
    with tag("div", cls="suspect"):
        tag("h3", f"{name}: {alarm['suspicion']}")
        odds = math.exp(min(alarm["evidence"], 60.0))
        tag(
            "p",
            f"The alarm rang after {alarm['rang_at']:,} answers. The evidence against honest answers is {odds:,.0f} to 1; it rings "
            f"from {1 / level:,.0f} to 1, which honest answers ever reach with a probability of {level:g} at most.",
        )
        tag("p", f"Reliability {number(about['reliability'])}; gold items right: {share(about['gold'])}.")
        flipped = f"Without these judgments {100 * alarm['flipped']:.0f} % of the compared pairs would be decided the other way."
        tag("p", flipped, "quiet")
        with tag("div", cls="actions-row"):
            widgets.button(f"Quarantine {name}", ask(person, name, False), cls="danger")


def _flags(found: Mapping[str, Any], answer: Callable[[Any], Act]) -> None:
    """What people said is wrong with items: the unanswered first."""
    with tag("div", cls="table ground", tabindex=0, role="region", aria_label="Flags"), tag("table"):
        with tag("thead"), tag("tr"):
            for name in ("Person", "Says", "Item", "Answer"):
                tag("th", name, scope="col")
        with tag("tbody"):
            for flag in found["flags"][:MOST_FLAGS]:
                name = found["people"].get(flag["by"], {}).get("name") or found["names"].get(flag["by"], flag["by"])
                with tag("tr"):
                    tag("th", name, scope="row")
                    tag("td", flag["why"])
                    tag("td", flag["prompt"])
                    with tag("td"):
                        if flag["answer"]:
                            tag("p", flag["answer"])
                        else:
                            widgets.button("Answer", answer(flag), aria_label=f"Answer the flag of {name}")
    if len(found["flags"]) > MOST_FLAGS:
        tag("p", f"And {len(found['flags']) - MOST_FLAGS:,} more.", "quiet")


def _people(found: Mapping[str, Any], ask: Ask) -> None:
    compared = "agreement" in found
    bias = ["Reliability (1 is typical)", "First shown", "Longer"] if compared else []
    head = ["Person", "Judgments", "Seconds", "Gold right", *bias, "Alarm", "Decision"]
    with tag("div", cls="table ground", tabindex=0, role="region", aria_label="People"), tag("table"):
        with tag("thead"), tag("tr"):
            for name in head:
                tag("th", name, scope="col")
        with tag("tbody"):
            for person, about in found["people"].items():
                with tag("tr"):
                    _person(person, about, compared, ask)
    if compared:
        said = "Reliability, and the log-odds that somebody adds for the answer shown first and for the longer one; 95 % intervals."
        tag("p", said, "quiet")
    for label, people in found["labels"].items():
        rows = [[found["people"].get(p, {"name": p})["name"], share(of)] for p, of in people.items()]
        widgets.table(["Person", "Right, by Dawid and Skene"], rows, f"Label: {label}")


def _person(person: str, about: Mapping[str, Any], compared: bool, ask: Ask) -> None:
    name = about["name"]
    tag("th", name, scope="row")
    tag("td", f"{about['judgments']:,}", "number")
    out = about["quarantined"]
    median = about.get("median_seconds")
    tag("td", "–" if median is None else f"{median:,.1f}", "number")
    _cell(share(about["gold"]) if "gold" in about else "–")
    if compared:
        reliability = about.get("reliability")
        _cell(number(reliability) if reliability else "–", charts.whisker(reliability, -1, 3, at=0))
        for what in ("position", "length"):
            _cell(number(about[what]) if what in about else "–")
    alarm = about.get("alarm") or {}
    rang = f"after {alarm['rang_at']:,}" if alarm.get("rang_at") is not None else "no"
    tag("td", f"in quarantine: {about.get('why', '')}" if out else rang)
    with tag("td"):
        if out:
            widgets.button("Lift", ask(person, name, True), aria_label=f"Lift the quarantine of {name}")
        else:
            widgets.button("Quarantine", ask(person, name, False), aria_label=f"Quarantine {name}")


def _cell(said: str, chart: str = "") -> None:
    """A number with its interval and count below it, and a chart where there is one."""
    estimate, bracket, rest = said.partition(" [")
    with tag("td"):
        tag("div", estimate, "estimate")
        if bracket:
            tag("small", f"[{rest}")
        if chart:
            ui.html(chart, sanitize=False)


# ---------------------------------------------------------------- the rest


def _agreement(found: Mapping[str, Any]) -> None:
    rows: list[Sequence[Any]] = [
        [f"{row['kind'].capitalize()}: {row['axis']}", number(row["alpha"])] for row in found["agreement_by_axis"]
    ]
    for field, groups in found.get("agreement_by_group", {}).items():
        rows += [[f"Within {field}: {group or 'not given'}", number(alpha)] for group, alpha in groups.items()]
    if rows:
        widgets.table(["Krippendorff's alpha", "1 is perfect, 0 chance"], rows)
    more = []
    if "repeats" in found:
        more.append(["Same answer when shown again", share(found["repeats"])])
    if "effects" in found:
        effects = found["effects"]
        more.append(["Shown first (log-odds, everybody)", number(effects["position"])])
        if "length" in effects:
            more.append(["Longer by a standard deviation (log-odds), bias or quality", number(effects["length"])])
    if more:
        widgets.table(["Consistency and bias", ""], more)


def _coverage(coverage: Mapping[str, Any]) -> None:
    rows = [["All", *_covered(coverage)], *([tag_, *_covered(of)] for tag_, of in coverage["by_tag"].items())]
    widgets.table(["Tag", "Items begun", "complete", "Prompts begun"], rows)
    spread = coverage["by_judgments"]
    widgets.table(["Judgments", "Items"], [[n, count] for n, count in spread.items()])


def _covered(of: Mapping[str, Any]) -> list[str]:
    return [
        f"{of['begun']:,} of {of['items']:,}",
        f"{of['complete']:,} of {of['items']:,}",
        f"{of['prompts_begun']:,} of {of['prompts']:,}",
    ]


def _budget(found: Mapping[str, Any], drawn: Mapping[str, str]) -> None:
    if drawn["budget"]:
        ui.html(drawn["budget"], sanitize=False)
    cost = (found["effort"]["cost"] or {}).get("estimate")
    head = ["Judgments per item", "Majority is right", *(["Cost per item"] if cost is not None else [])]
    rows = [
        [str(row["judgments"]), share(row), *([f"{row['judgments'] * cost:,.2f}"] if cost is not None else [])]
        for row in found["accuracy_by_budget"]
    ]
    widgets.table(head, rows, "On gold items")


def _help(found: Mapping[str, Any]) -> None:
    of = found["assisted"]
    rows = [
        ["Answers given twice", f"{of['answers']:,}"],
        ["Changed after the help", share(of["changed"])],
        ["Followed, of those who had said otherwise", share(of["followed"])],
        ["Seconds with the help", number(of["seconds"], 1)],
        ["Accepted within half a second", share(of["rubber_stamps"])],
        ["Right alone (gold)", share(of["accuracy"]["alone"])],
        ["Right with help (gold)", share(of["accuracy"]["assisted"])],
        ["Gain, paired", share(of["gain"]) if of["gain"]["estimate"] else number(of["gain"])],
    ]
    widgets.table(["Judged alone, then with help", ""], rows)
    names = {p: about["name"] for p, about in found["people"].items()}
    each = [[names.get(p, p), share(o["rubber_stamps"]), share(o["followed"])] for p, o in of["people"].items()]
    widgets.table(["Person", "Within half a second", "Followed"], each)
    if of["teams"]:
        _teams(of["teams"])


def _teams(teams: Mapping[str, Any]) -> None:
    rows = [[arm, share(teams["caught"][arm]), number(teams["false"][arm])] for arm in ("person", "critic", "team")]
    widgets.table(["Who", "Right, or bug caught", "Wrong"], rows)
    more = [[f"Team and {arm}", number(teams["more_caught"][arm])] for arm in ("person", "critic")]
    widgets.table(["Difference, paired by problem", "More caught"], more)
    if teams["note"]:
        tag("p", teams["note"])


def _standings(standings: Mapping[str, Any]) -> None:
    for name, elo in standings.get("elo", {}).items():
        tag("p", f"{name}: Elo {number(elo, 0)}")
    for axis, models in standings["means"].items():
        widgets.table(["Model", f"{axis}, 1 to 7"], [[name, number(of)] for name, of in models.items()])
