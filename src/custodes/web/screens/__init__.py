"""The screens: NiceGUI pages on the server's application, for people.

To add a page, write a file here and import it below. The file holds a function that builds the page::

    @page("/projects/{name}/people", Rule(LEADS), "People", nav="People")
    async def people(visit: Visit, name: str) -> None:
        accounts = await visit.do(visit.database.accounts.all)
        with widgets.card("Accounts"):
            ...

``page`` makes the address and lets in whom the rule admits; everybody else is sent to sign in, or told. It puts the page
into the frame of ``shell.py``; with ``nav`` the page stands in the navigation of those who may see it. Whatever touches the
database goes through ``visit.do``, which works in a thread and first looks whether the person is still signed in.
``async with visit.telling():`` around it says in one sentence what went wrong. ``widgets.py`` has what pages are made of,
all of it reached by keyboard: give a control ``data-key`` and it answers to that key and is in the map on ``?``. What is
drawn again and again is a ``widgets.LiveRegion``, which loses no press of a button.

What people wrote is shown with ``widgets.markdown`` or as text, never as HTML. Styles are in ``static/screens.css``, by
variables that know light and dark. What must happen in the browser is in ``static/screens.js``. Nothing comes from
another host.
"""

from custodes.web.screens import desk, home, judge, oversight, people, projects_admin, sign_in
from custodes.web.screens.host import attach
from custodes.web.screens.pages import page_rules

__all__ = ["attach", "desk", "home", "judge", "oversight", "page_rules", "people", "projects_admin", "sign_in"]
