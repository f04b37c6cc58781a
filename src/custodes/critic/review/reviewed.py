"""What a review found: findings in files, and what stood in the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from custodes.critic.review.snippets import Problem


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One finding in a file; ``places`` lists every line range that the quote may mean, the first is ``line``.

    ``name`` is the function or method that it is in, "module" for code outside.
    """

    file: str
    line: int
    end_line: int
    quote: str
    message: str
    confidence: float
    places: tuple[tuple[int, int], ...]
    name: str = "module"

    @property
    def fingerprint(self) -> str:
        """The same after lines have moved: of the file, the function, the quote and nothing else."""
        shown = f"{self.file}\0{self.name}\0{' '.join(self.quote.split())}"
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(slots=True)
class Review:
    """Findings in the order of files, the most confident of each first; ``died`` says why not all was reviewed."""

    findings: list[Reviewed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    snippets: int = 0
    cached: int = 0
    hidden: int = 0  # by a comment, the baseline, or the lines of a diff
    died: str = ""
    texts: dict[str, str] = field(default_factory=dict, repr=False)  # of every file, as it was read
    occurring: list[tuple[Reviewed, int]] = field(default_factory=list, repr=False)  # shown or known, and how often
    whole: list[str] = field(default_factory=list, repr=False)  # files of which every line was reviewed
