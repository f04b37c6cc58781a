"""Findings in an editor: what ``custodes lsp`` serves, when a file is opened and when it is saved.

Not while it is typed into: a critic takes seconds. Until then findings move with the lines, and those on edited lines go.
What did not change comes from the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from custodes import __version__
from custodes.critic.choice import CriticChoice
from custodes.critic.review.editor import (
    EditorNote,
    appended_test,
    file_of_tests,
    ignoring,
    in_markdown,
    moved_notes,
    notes_of,
)
from custodes.critic.review.findings import Review
from custodes.critic.review.flow import ReviewOptions, open_models, review
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.remarks import Critic
from custodes.critic.review.running import RunOptions
from custodes.critic.review.snippets import lines_of, plain_kind
from custodes.job.command import command
from custodes.lm.cache import cache_folder
from custodes.types import InputError

if TYPE_CHECKING:
    from lsprotocol.types import CodeAction, Diagnostic, Range
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
    run = config.running if config.evidence else None
    proposing = config.proposing if run else None
    load = lambda: open_models(config.choice, asks, proposing, config.options.strictness)  # noqa: E731
    _make_server(load, config.options, cache, run).start_io()


def _make_server(
    load_models: Callable[[], tuple[Critic | None, Proposer | None]],
    options: ReviewOptions,
    cache: Path | None,
    run: RunOptions | None = None,
) -> LanguageServer:
    """A server that loads its models at the first file. Raises InputError where pygls is not installed."""
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ImportError:
        raise InputError("the language server needs pygls: pip install 'custodes[lsp]'.") from None
    whole = types.TextDocumentSyncKind.Full  # pygls applies single edits by lines that are not the protocol's
    server, busy = LanguageServer("custodes", __version__, whole), asyncio.Lock()
    models: list[tuple[Critic | None, Proposer | None]] = []  # once they are loaded
    shown: dict[str, tuple[str, list[EditorNote]]] = {}  # of each open file: a text, and the notes on it

    def reviewed(file: str, text: str) -> Review:
        models.extend([] if models else [load_models()])
        critic, proposer = models[0]
        return review([file], critic, options, cache, texts={file: text}, run=run, proposer=proposer)

    async def look(uri: str) -> None:
        text = server.workspace.get_text_document(uri).source
        async with busy:
            try:
                result = await asyncio.to_thread(reviewed, _path(uri), text)
            except InputError as error:
                server.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))
                return
        if uri in server.workspace.text_documents:  # it may have been closed meanwhile, or edited
            shown[uri] = text, notes_of(result)
            publish(uri)

    def publish(uri: str) -> None:
        document = server.workspace.get_text_document(uri)
        text, notes = shown[uri]
        shown[uri] = document.source, moved_notes(notes, text, document.source)
        lines, units = lines_of(document.source), server.workspace.position_codec.client_num_units
        diagnostics = [_diagnostic(note, lines, units) for note in shown[uri][1]]
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, document.version))

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        await look(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        await look(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        if params.text_document.uri in shown:
            publish(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        shown.pop(params.text_document.uri, None)
        server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(params.text_document.uri, []))

    _answer_questions(server, shown)
    return server


def _answer_questions(server: LanguageServer, shown: Mapping[str, tuple[str, list[EditorNote]]]) -> None:
    """What can be done about the findings in some lines, and what a finding rests on."""
    from lsprotocol import types

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions([types.CodeActionKind.QuickFix]))
    def actions(params: types.CodeActionParams) -> list[CodeAction]:
        uri, chosen = params.text_document.uri, params.range
        _, notes = shown.get(uri, ("", []))
        here = [n for n in notes if n.finding and n.start - 1 <= chosen.end.line and chosen.start.line <= n.end - 1]
        return [action for note in here for action in _actions(server, uri, note)]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(params: types.HoverParams) -> types.Hover | None:
        _, notes = shown.get(params.text_document.uri, ("", []))
        here = (n.finding for n in notes if n.finding and n.start - 1 <= params.position.line <= n.end - 1)
        text = "\n\n---\n\n".join(map(in_markdown, here))
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text)) if text else None


def _actions(server: LanguageServer, uri: str, note: EditorNote) -> Iterator[CodeAction]:
    """Ignore the finding; where it has a test that fails, insert that."""
    from lsprotocol import types

    document, units = server.workspace.get_text_document(uri), server.workspace.position_codec.client_num_units
    diagnostics = [_diagnostic(note, lines_of(document.source), units)]
    fix = types.CodeActionKind.QuickFix
    if (edit := ignoring(document.source, note)) is not None:
        old = lines_of(document.source)[edit.line - 1]
        whole = types.Range(types.Position(edit.line - 1, 0), types.Position(edit.line - 1, units(old)))
        changes = {uri: [types.TextEdit(whole, edit.text)]}
        yield types.CodeAction(edit.title, fix, diagnostics, edit=types.WorkspaceEdit(changes))
    if note.finding is None or note.finding.evidence is None:
        return
    file = file_of_tests(Path(_path(uri)))
    tests = server.workspace.get_text_document(file.as_uri()).source if file.is_file() else ""
    if (addition := appended_test(tests, note.finding.evidence.test)) is not None:
        lines = lines_of(tests)
        end = types.Position(len(lines) - 1, units(lines[-1]))
        insert = types.TextEdit(types.Range(end, end), addition)
        where = types.OptionalVersionedTextDocumentIdentifier(file.as_uri())
        made = [] if file.is_file() else [types.CreateFile(file.as_uri(), options=types.CreateFileOptions(None, True))]
        edits = types.WorkspaceEdit(document_changes=[*made, types.TextDocumentEdit(where, [insert])])
        yield types.CodeAction(f"Insert the failing test into {file.name}", fix, diagnostics, edit=edits)


def _path(uri: str) -> str:
    return unquote(urlparse(uri).path)


def _diagnostic(note: EditorNote, lines: list[str], units: Callable[[str], int]) -> Diagnostic:
    """A note; ``units`` counts a text's length as the editor does."""
    from lsprotocol.types import Diagnostic, DiagnosticSeverity

    severity = DiagnosticSeverity.Warning if note.finding else DiagnosticSeverity.Information
    code = plain_kind(note.finding.kind) if note.finding else None
    shown = _range(lines, note.start, note.end, units)
    return Diagnostic(shown, note.message, severity=severity, code=code, source="custodes")


def _range(lines: list[str], start: int, end: int, units: Callable[[str], int]) -> Range:
    """Whole lines without their indentation; the protocol counts from 0."""
    from lsprotocol.types import Position, Range

    first, last = lines[start - 1], lines[end - 1]
    begin = Position(start - 1, units(first[: len(first) - len(first.lstrip())]))
    return Range(begin, Position(end - 1, units(last)))
