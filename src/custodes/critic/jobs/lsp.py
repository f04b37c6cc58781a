"""Findings in an editor: what ``custodes lsp`` serves, when a file is opened and when it is saved.

Not while it is typed into: a critic takes seconds. What did not change comes from the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from custodes import __version__
from custodes.critic.choice import CriticChoice, open_critic, open_proposer
from custodes.critic.review.critics import Critic
from custodes.critic.review.evidence import TITLES
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.running import RunOptions
from custodes.critic.review.snippets import lines_of
from custodes.job.command import command
from custodes.lm.cache import cache_folder
from custodes.types import InputError

if TYPE_CHECKING:
    from lsprotocol.types import Diagnostic, Range
    from pygls.lsp.server import LanguageServer


@dataclass(frozen=True, kw_only=True)
class Lsp:
    """Serve findings to an editor over standard input and output (Language Server Protocol)."""

    options: ReviewOptions = field(default_factory=ReviewOptions)
    evidence: bool = True
    """Run the functions in a sandbox, against their examples and what their names, docstrings and types promise."""
    running: RunOptions = field(default_factory=RunOptions)
    arguments: bool = False
    """Show findings without evidence too: what a critic finds suspicious. So does naming a critic."""
    proposing: ProposalOptions = field(default_factory=ProposalOptions)
    choice: CriticChoice = field(default_factory=CriticChoice)
    cache: bool = True
    """Keep answers, so that what did not change is not asked again."""


@command(prints=False, recorded=False)
def lsp(config: Lsp) -> None:
    """Serve findings to an editor (Language Server Protocol).

    Until the editor ends it. Raises InputError where pygls is not installed.
    """
    cache = cache_folder() / "critiques" if config.cache else None
    asks = config.arguments or not config.evidence or config.choice.named
    load = (lambda: open_critic(config.choice, config.options.strictness)) if asks else (lambda: None)
    run = config.running if config.evidence else None
    propose = (lambda: open_proposer(config.choice, config.proposing)) if run else (lambda: None)
    _make_server(load, config.options, cache, run, propose).start_io()


def _make_server(
    load_critic: Callable[[], Critic | None],
    options: ReviewOptions,
    cache: Path | None,
    run: RunOptions | None = None,
    load_proposer: Callable[[], Proposer | None] = lambda: None,
) -> LanguageServer:
    """A server that loads its critic and its model at the first file. Raises InputError where pygls is not installed."""
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ImportError:
        raise InputError("the language server needs pygls: pip install 'custodes[lsp]'.") from None
    whole = types.TextDocumentSyncKind.Full  # pygls applies single edits by lines that are not the protocol's
    server, busy, critics = LanguageServer("custodes", __version__, whole), asyncio.Lock(), list[Critic | None]()
    published: dict[str, Review] = {}
    proposers: list[Proposer | None] = []

    def reviewed(file: str, text: str) -> Review:
        critics.extend([] if critics else [load_critic()])
        proposers.extend([] if proposers else [load_proposer()])
        return review([file], critics[0], options, cache, texts={file: text}, run=run, proposer=proposers[0])

    async def publish(uri: str) -> None:
        document = server.workspace.get_text_document(uri)
        text = document.source
        async with busy:
            try:
                result = await asyncio.to_thread(reviewed, unquote(urlparse(uri).path), text)
            except InputError as error:
                server.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))
                return
        published[uri] = result
        units = server.workspace.position_codec.client_num_units
        diagnostics = list(_diagnostics(result, lines_of(text), units))
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, document.version))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        await publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        await publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(params: types.HoverParams) -> types.Hover | None:
        review, line = published.get(params.text_document.uri), params.position.line + 1
        shown = [f for f in review.findings if any(a <= line <= b for a, b in f.places)] if review else []
        text = "\n\n---\n\n".join(_in_markdown(f) for f in shown)
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text)) if text else None

    return server


def _in_markdown(finding: Reviewed) -> str:
    """A finding with the evidence that it has."""
    said = finding.evidence
    if said is None:
        return f"**{finding.kind}**: {finding.message}"
    rows = {"called": said.call, "came": said.came, "promised": said.promised, "by": said.by, "note": said.note}
    shown = [f"- {label}: `{' '.join(value.replace('`', chr(39)).split())}`" for label, value in rows.items() if value]
    return "\n".join(
        [f"**{TITLES[said.kind]}**", "", *shown, "", "A test to paste:", "", "~~~~python", said.test.rstrip(), "~~~~"]
    )


def _diagnostics(result: Review, lines: list[str], units: Callable[[str], int]) -> Iterator[Diagnostic]:
    """Findings, and what was not reviewed, so that a file without any is one that was; ``units`` counts a text's length
    as the editor does."""
    from lsprotocol.types import Diagnostic, DiagnosticSeverity

    for finding in result.findings:
        for start, end in finding.places:
            message = f"{finding.message} (confidence {finding.confidence:.0%})"
            shown = _range(lines, start, end, units)
            yield Diagnostic(shown, message, severity=DiagnosticSeverity.Warning, source="custodes", code=finding.kind)
    problems = [(max(p.line, 1), f"not reviewed: {p.message}") for p in result.problems]
    for line, message in problems + ([(1, f"stopped: {result.died}")] if result.died else []):
        shown = _range(lines, line, line, units)
        yield Diagnostic(shown, message, severity=DiagnosticSeverity.Information, source="custodes")


def _range(lines: list[str], start: int, end: int, units: Callable[[str], int]) -> Range:
    """Whole lines without their indentation; the protocol counts from 0."""
    from lsprotocol.types import Position, Range

    first, last = lines[start - 1], lines[end - 1]
    begin = Position(start - 1, units(first[: len(first) - len(first.lstrip())]))
    return Range(begin, Position(end - 1, units(last)))
