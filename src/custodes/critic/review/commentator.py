"""What is wrong with a quote, in the words of a local model."""

from __future__ import annotations

from collections.abc import Sequence

from custodes.critic.review.question import (
    ANSWER_INSTRUCTION,
    INSTRUCTION,
    SUSPICIOUS,
    control_words,
    defused,
    halves,
    opening_of,
    plain_question,
    task_of,
)
from custodes.critic.review.snippets import Snippet
from custodes.feedback.critique import parse_critique
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.types import Sampling, hash_shown


class Commentator:
    """A local model that is made to quote, and says what is wrong with the quote."""

    def __init__(self, lm: LanguageModel, tokens: int = 60) -> None:
        self.lm, self.tokens = lm, tokens
        self.engine, self.words = TorchEngine(lm), control_words(lm.tokenizer)

    @property
    def fingerprint(self) -> str:
        return hash_shown("comments", self.lm.fingerprint(), INSTRUCTION, ANSWER_INSTRUCTION, str(self.tokens))

    def fits(self, snippet: Snippet, quotes: Sequence[str]) -> bool:
        """Whether the model's context holds the question, any of the quotes and a comment."""
        prompt = len(self.lm.encode(task_of(snippet, self.words).messages, opening_of(snippet)))
        longest = max(len(self.lm.encode_reply(quote)) for quote in quotes)
        return prompt + longest + self.tokens + 16 <= self.lm.decoder.spec.context

    def on(self, snippet: Snippet, quotes: Sequence[str]) -> list[str]:
        """A comment on each quote; of a snippet that does not fit, the part around the quote is shown."""
        shown = [self._around(snippet, quote) for quote in quotes]
        fitting = [i for i, (s, quote) in enumerate(zip(shown, quotes, strict=True)) if self.fits(s, [quote])]
        starts = [f"{opening_of(shown[i])}{defused(quotes[i], self.words)}\n```\n" for i in fitting]
        sampling = Sampling(temperature=0, max_tokens=self.tokens, stop=("\n\n", "```"))
        tasks = [task_of(shown[i], self.words) for i in fitting]
        said = [SUSPICIOUS] * len(quotes)
        for i, reply in zip(fitting, self.engine.generate(tasks, sampling, prefixes=starts), strict=True):
            found = parse_critique(reply.completion).findings
            said[i] = plain_question(found[0].comment if found else "", self.words) or SUSPICIOUS
        return said

    def _around(self, snippet: Snippet, quote: str) -> Snippet:
        while not self.fits(snippet, [quote]):
            parts = [part for part in halves(snippet) if quote in part.code]
            if not parts:
                break
            snippet = parts[0]
        return snippet
