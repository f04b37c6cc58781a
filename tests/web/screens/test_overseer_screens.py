"""Screens of those who oversee: the quality desk, the oversight queue, people, projects."""

from __future__ import annotations

from playwright.sync_api import Browser, expect
from site_under_test import PASSWORD, Site
from sqlalchemy import update

from custodes.feedback.questions import Answer
from custodes.types import Annotator, Message
from custodes.web import oversight, work
from custodes.web.accounts import Account
from custodes.web.schema import assignments


def somebody(site: Site, name: str, role="annotator") -> Account:
    account = site.database.accounts.create(name, PASSWORD, role)
    site.database.ledger.write(site.database.run, [Annotator(account.id, "human")])
    return account


def judge_all(site: Site, project: str, account: Account, right: bool) -> None:
    while (item := work.claim(site.database, project, account)[0]) is not None:
        left = item["answers"][0][0]["content"].startswith("good")
        answers = [Answer(question=1, verdict="prefer", strength=2 if left == right else -2)]
        with site.database.writing() as connection:  # ten seconds pass
            here = assignments.c.id == item["assignment"]
            connection.execute(update(assignments).where(here).values(given=assignments.c.given - 10.0))
        work.hand_in(site.database, item["assignment"], account, answers, 10.0)


def test_the_desk_is_live_and_puts_into_quarantine_and_lifts_it(site: Site, browser: Browser):
    rows = [{"prompt": f"Q{n}?", "answers": [f"good {n}", f"evil {n}"]} for n in range(6)]
    project = site.project("[{kind: comparison}]", rows, "pay_per_hour: 18\ncurrency: EUR")
    judge_all(site, project, somebody(site, f"ann-{project}"), True)
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/desk")
    page.get_by_label(f"Quality desk of Project {project}").click()
    items = page.locator(".figure", has_text="Items handed in").locator("dd").first
    expect(items).to_have_text("6")
    expect(page.locator(".figure", has_text="Cost per item")).to_contain_text("0.05 EUR")
    judge_all(site, project, somebody(site, f"eve-{project}"), False)
    expect(items).to_have_text("12")  # without a reload
    row = page.locator("tr", has=page.get_by_role("rowheader", name=f"eve-{project}"))
    row.get_by_role("button", name="Quarantine").press("Enter")
    expect(page.get_by_label("Why? It stands in the ledger.")).to_be_focused()
    page.keyboard.type("always the worse one")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row).to_contain_text("in quarantine: always the worse one")
    run = next(run.id for run in site.database.ledger.runs() if run.recipe == f"project {project}")
    assert "quarantine" in [decision.what for decision in site.database.ledger.decisions(run)]
    assert len(list(site.database.ledger.judgments(run))) == 12  # nothing is deleted
    row.get_by_role("button", name="Lift").click()
    page.get_by_label("Why? It stands in the ledger.").fill("it was a mistake")
    page.get_by_role("button", name="Decide").click()
    expect(row).not_to_contain_text("in quarantine")


def test_a_flag_is_answered_and_an_odd_habit_named(site: Site, browser: Browser):
    rows = [{"prompt": f"Q{n}?", "answers": [f"good {n}", f"evil {n}"]} for n in range(14)]
    project = site.project("[{kind: comparison}]", rows)
    eager = somebody(site, f"eager-{project}")
    for n in range(14):
        item, _ = work.claim(site.database, project, eager)
        assert item is not None
        if n == 0:
            work.skip(site.database, item["assignment"], eager, "there is no question", flag=True)
        else:
            work.hand_in(
                site.database, item["assignment"], eager, [Answer(question=1, verdict="prefer", strength=1)], 1.5
            )
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/desk/{project}")
    suspect = page.locator(".suspect", has_text=f"eager-{project}: always one side, too fast to have read")
    expect(suspect).to_contain_text("The answer shown first is preferred 13 of 13 times")
    row = page.get_by_role("region", name="Flags").locator("tr", has_text="there is no question")
    row.get_by_role("button", name="Answer").click()
    page.get_by_label("Your answer").fill("We took it out.")
    page.get_by_role("button", name="Send").click()
    expect(row).to_contain_text("We took it out.")


def test_a_lead_chooses_who_sees_a_project(site: Site, browser: Browser):
    project = site.project("[{kind: comparison}]", [{"prompt": "Q?", "answers": ["a", "b"]}])
    name = f"member-{project}"
    somebody(site, name)
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/manage")
    card = page.get_by_role("region", name=f"Project {project}", exact=True)
    expect(card).to_contain_text("Seen by everybody, and by leads and auditors.")
    for who, how in ((name, "Add"), ("everybody", "Remove")):
        card.get_by_role("button", name="Members").click()
        page.get_by_label("Name, or everybody", exact=True).fill(who)
        page.get_by_role("button", name=how, exact=True).click()
        expect(page.locator("dialog#membership")).not_to_be_visible()
    expect(card).to_contain_text(f"Seen by {name}, and by leads and auditors.")
    other = site.visitor(browser)
    other.goto(site.address)
    expect(other.locator("main h1")).to_have_text("Projects")
    assert other.locator("h2", has_text=f"Project {project}").count() == 0


def test_actions_are_approved_and_blocked_by_key_and_by_mouse(site: Site, browser: Browser):
    agent, told = somebody(site, "agent"), [Message("user", "Free some **space**.")]
    page = site.visitor(browser, "reviewer")
    page.goto(f"{site.address}/oversight")
    expect(page.locator("main")).to_contain_text("Nothing waits")
    first = oversight.propose(site.database, agent, "agent-7", told, "rm -rf <b>build</b>", timeout=500.0)
    second = oversight.propose(site.database, agent, "agent-7", told, "rm -rf /", "It is large.", timeout=900.0)
    expect(page.locator("pre")).to_have_text("rm -rf <b>build</b>")  # it comes by itself, as text
    page.keyboard.press("a")
    expect(page.locator("pre")).to_have_text("rm -rf /")
    assert oversight.answer_to(site.database, first, agent)["state"] == "approved"
    page.get_by_label("Why? (optional)").fill("everything would be gone")
    page.get_by_role("button", name="Block").click()
    expect(page.locator("main")).to_contain_text("Nothing waits")
    found = oversight.answer_to(site.database, second, agent)
    assert (found["state"], found["by"], found["why"]) == ("blocked", "person", "everything would be gone")
    page.get_by_role("link", name="What it catches and costs").click()
    expect(page.locator("table").first).to_contain_text("Seconds of a person per answer")


def test_a_lead_invites_shuts_out_and_lets_in_again_and_an_auditor_reads_of_it(site: Site, browser: Browser):
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/people")
    page.get_by_label("Reviewer").check()
    page.get_by_label("Profile").fill("country DE")
    page.get_by_role("button", name="Make an invitation").click()
    expect(page.locator("#said")).to_contain_text("Profile, line 1")
    page.get_by_label("Profile").fill("country: DE\nexpertise: law, tax")
    page.get_by_role("button", name="Make an invitation").click()
    link = page.locator("[data-invitation]").inner_text()
    joined = browser.new_context().new_page()
    joined.goto(link)
    joined.get_by_label("Choose a name").fill("beginner")
    joined.get_by_label("Choose a password").fill(PASSWORD)
    joined.get_by_role("button", name="Join").click()
    expect(joined.locator(".person")).to_contain_text("beginner, reviewer")
    page.reload()
    row = page.locator("tr", has=page.get_by_role("rowheader", name="beginner"))
    expect(row).to_contain_text("country: DE; expertise: law, tax")
    row.get_by_role("button", name="Shut out").press("Enter")
    expect(row).to_contain_text("shut out")
    row.get_by_role("button", name="Let in again").click()
    expect(row).to_contain_text("let in")
    auditor = site.visitor(browser, "auditor")
    auditor.goto(f"{site.address}/people/access")
    log = auditor.locator("tbody")
    for what in ("invitation made", "joined", "account disabled", "account enabled"):
        expect(log).to_contain_text(what)


def test_a_project_is_opened_told_what_is_wrong_and_ended(site: Site, browser: Browser):
    page = site.visitor(browser, "lead")
    page.goto(f"{site.address}/manage")
    yaml = page.get_by_label("The project (YAML)")
    text = yaml.input_value().replace("name: helpfulness ", "name: opened-here ")
    yaml.fill(text.replace("overlap: 3 ", "overlap: three "))
    page.get_by_role("button", name="Check and open").click()
    expect(page.locator("#said")).to_contain_text("field 'assignment.overlap'")
    yaml.fill(text.replace("title: Which answer helps more?", "title: Opened here"))
    tasks = page.get_by_label("Its tasks (JSONL, one per line)")
    tasks.fill('{"prompt": "Q?"')
    page.get_by_role("button", name="Check and open").click()
    expect(page.locator("#said")).to_contain_text("Tasks, line 1: not JSON")
    tasks.fill('{"prompt": "Q?", "answers": ["a", "b"]}')
    page.get_by_role("button", name="Check and open").click()
    card = page.get_by_role("region", name="Opened here")
    expect(card).to_contain_text("0 of 3 judgments")
    card.get_by_role("button", name="End Opened here").click()
    page.get_by_label("Why?", exact=True).fill("enough")
    page.get_by_role("button", name="End it").click()
    expect(card).to_contain_text("Ended: enough.")


def test_overseers_screens_fit_a_phone(site: Site, browser: Browser):
    page = site.visitor(browser, "lead", viewport={"width": 390, "height": 800}, color_scheme="dark")
    rows = [{"prompt": "Q?", "answers": ["good", "evil"]}]
    project = site.project("[{kind: comparison}]", rows)
    judge_all(site, project, somebody(site, f"phone-{project}"), True)
    for path, shown in (
        (f"/desk/{project}", ".figure"),
        ("/oversight", ".empty"),
        ("/people", "tbody tr"),
        ("/manage", "#yaml"),
    ):
        page.goto(site.address + path)
        expect(page.locator(shown).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
