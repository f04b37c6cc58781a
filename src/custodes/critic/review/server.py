"""A language server: the findings of a review as diagnostics in an editor, when a file is opened and when it is saved.

Not while it is typed into: a critic takes seconds. What did not change comes from the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from custodes import __version__
from custodes.critic.review.critics import Critic
from custodes.critic.review.flow import Reviewed, ReviewOptions, review
from custodes.types import InputError

if TYPE_CHECKING:
    from pygls.lsp.server import LanguageServer


def make_server(open_critic: Callable[[], Critic], options: ReviewOptions, cache: Path | None) -> LanguageServer:
    """A server that loads its critic at the first file. Raises InputError where pygls is not installed."""
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ImportError:
        raise InputError("the language server needs pygls: pip install 'custodes[lsp]'.") from None
    server, busy, critics = LanguageServer("custodes", __version__), asyncio.Lock(), list[Critic]()

    def reviewed(file: str, text: str) -> list[Reviewed]:
        critics.extend([] if critics else [open_critic()])
        return review([file], critics[0], options, cache, texts={file: text}).findings

    async def publish(uri: str) -> None:
        document = server.workspace.get_text_document(uri)
        text = document.source
        async with busy:
            try:
                findings = await asyncio.to_thread(reviewed, unquote(urlparse(uri).path), text)
            except InputError as error:
                server.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))
                return
        lines = text.splitlines()
        diagnostics = [
            types.Diagnostic(
                range=_range(types, lines, *place),
                message=f"{finding.message} (confidence {finding.confidence:.0%})",
                severity=types.DiagnosticSeverity.Warning,
                source="custodes",
            )
            for finding in findings
            for place in finding.places
        ]
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, document.version))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        await publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        await publish(params.text_document.uri)

    return server


def _range(types, lines: list[str], start: int, end: int):  # type: ignore[no-untyped-def]
    """Whole lines without their indentation; the protocol counts from 0."""
    first, last = lines[start - 1], lines[end - 1]
    begin = types.Position(start - 1, len(first) - len(first.lstrip()))
    return types.Range(begin, types.Position(end - 1, len(last.encode("utf-16-le")) // 2))
