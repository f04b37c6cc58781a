"""Signing in and joining by invitation, as plain HTML, so that nobody outside holds a page's socket.

Both forms are sent to the same routes that programs use, by ``static/sign_in.js``.
"""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from nicegui import app as host

from custodes.web.screens.pages import open_page
from custodes.web.screens.shell import file_address, static_file


def _sign_in(request: Request) -> HTMLResponse:
    """Name and password."""
    content = f"""
        <form id="sign-in" data-send="/api/sign-in" novalidate>
          <label for="name">Name</label>
          <input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus>
          <label for="password">Password</label>
          <input id="password" name="password" type="password" autocomplete="current-password" required>
          <p id="said" role="alert"></p>
          <button class="main" type="submit">Sign in</button>
        </form>
        {_elsewhere(request)}
        <p class="quiet">No account yet? A lead of your project gives you an invitation.</p>
        """
    return _page(request, "Sign in", content)


def _join(request: Request, invitation: str = "") -> HTMLResponse:
    """An invitation becomes an account."""
    content = f"""
        <form id="sign-in" data-send="/api/join" novalidate>
          <label for="invitation">Invitation</label>
          <input id="invitation" name="invitation" value="{escape(invitation[:200])}" autocomplete="off" required>
          <label for="name">Choose a name</label>
          <input id="name" name="name" autocomplete="username" autocapitalize="none" required
            aria-describedby="name-hint">
          <small id="name-hint">2 to 80 letters, digits and . _ - @ +</small>
          <label for="password">Choose a password</label>
          <input id="password" name="password" type="password" autocomplete="new-password" required
            aria-describedby="password-hint">
          <small id="password-hint">10 or more characters</small>
          <p id="said" role="alert"></p>
          <button class="main" type="submit">Join</button>
        </form>
        {_elsewhere(request, invitation)}
        <p class="quiet">You have an account? <a href="/sign-in">Sign in</a>.</p>
        """
    return _page(request, "Join", content)


def _elsewhere(request: Request, invitation: str = "") -> str:
    """A link to the provider by which people may sign in, where there is one."""
    provider = request.state.provider
    if provider is None:
        return ""
    query = f"?{urlencode({'invitation': invitation[:200]})}" if invitation else ""
    verb = "Join" if invitation else "Sign in"
    return f'<p><a href="/api/oidc/start{query}">{verb} with {escape(provider.name)}</a></p>'


async def _refused(request: Request, error: Exception) -> Response:
    """A page that is not there or not for whoever asks, told as a page; addresses of other things as an empty answer."""
    status = getattr(error, "status_code", 404)
    if "text/html" not in request.headers.get("accept", ""):
        return Response(status_code=status)
    detail = getattr(error, "detail", "")
    if status == 403:
        return _page(request, "Not for you", _sentence(f"{detail[:1].upper()}{detail[1:]}"), status)
    return _page(request, "Nothing here", _sentence("There is nothing at this address."), status)


async def _failed(request: Request, error: Exception) -> Response:
    """What nobody foresaw; the reason is in the server's log."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response(status_code=500)
    sentence = "Something went wrong here. Whoever runs this server finds the reason in its log."
    return _page(request, "Not working", _sentence(sentence), 500)


def _sentence(sentence: str) -> str:
    return f'<p>{escape(sentence)}</p><p><a href="/">To your projects</a></p>'


def _page(request: Request, title: str, content: str, status: int = 200) -> HTMLResponse:
    theme = request.cookies.get("custodes_theme", "")
    theme = theme if theme in ("light", "dark") else ""
    html = f"""<!doctype html>
<html lang="en" data-theme="{theme}">
<head>
  <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{escape(title)} · Custodes</title>
  <link rel="icon" href="{file_address("mark.svg")}"><link rel="stylesheet" href="{file_address("screens.css")}">
  <script src="{file_address("sign_in.js")}" defer></script>
</head>
<body class="outside"><main>
  <p class="brand"><img src="{file_address("mark.svg")}" alt="" width="28" height="28"> Custodes</p>
  <h1>{escape(title)}</h1>
  {content}
</main></body></html>"""
    return HTMLResponse(html, status)


open_page("/sign-in", _sign_in)
open_page("/join", _join)
open_page("/static/{version}/{name}", static_file)
host.add_exception_handler(404, _refused)
host.add_exception_handler(403, _refused)
host.add_exception_handler(Exception, _failed)
