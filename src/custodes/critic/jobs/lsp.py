"""Findings in an editor: what ``custodes lsp`` serves."""

from __future__ import annotations

from dataclasses import dataclass, field

from custodes.critic.choice import CriticChoice, open_critic
from custodes.critic.review.flow import ReviewOptions
from custodes.job.command import command
from custodes.lm.cache import cache_folder


@dataclass(frozen=True, kw_only=True)
class Lsp:
    """Serve findings to an editor over standard input and output (Language Server Protocol)."""

    options: ReviewOptions = field(default_factory=ReviewOptions)
    choice: CriticChoice = field(default_factory=CriticChoice)
    cache: bool = True
    """Keep answers, so that what did not change is not asked again."""


@command(prints=False, recorded=False)
def lsp(config: Lsp) -> None:
    """Serve findings to an editor (Language Server Protocol).

    Until the editor ends it. Raises InputError where pygls is not installed.
    """
    from custodes.critic.review.server import make_server

    cache = cache_folder() / "critiques" if config.cache else None
    make_server(lambda: open_critic(config.choice, config.options.strictness), config.options, cache).start_io()
