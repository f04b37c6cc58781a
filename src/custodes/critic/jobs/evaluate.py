"""Critics measured side by side on anybody's rows: what ``custodes critic evaluate`` does.

A scorer of lines is measured on every split, and what it would write is a policy. Beside it stand those of ``custodes
critic tune``: base, warm start, RL, and RL searched in three ways and sampled as often without a search, at several
modifiers. So do simulated people, alone and with the best of them. All write about the same functions; the rules rate
them, and a model that is named as judge is set beside the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from custodes.critic.choice import REWARD, WRITERS, CriticChoice
from custodes.critic.evidence_writer import FoundByRunning, find_by_running
from custodes.critic.examples import TRAIN, BugExample
from custodes.critic.jobs.subtlety import subtlety
from custodes.critic.judge import Judge
from custodes.critic.line_training import LineEvaluation, evaluate_lines
from custodes.critic.lines import LineScores
from custodes.critic.loading import open_proposer
from custodes.critic.panel import alone, compare, team
from custodes.critic.paper import paper_findings
from custodes.critic.policies import ReviewQuestion, chosen_by, modifiers, rated, review_question
from custodes.critic.rating import Rated, SimulatedRater, rate_critique
from custodes.critic.report.evaluation import write_critics_page
from custodes.critic.review.critics import LineCritic, proposed_quotes
from custodes.critic.review.proposals import ProposalOptions
from custodes.critic.review.running import RunOptions
from custodes.critic.review.snippets import Snippet
from custodes.critic.scoring import Remembered, ScoredRows, score_all
from custodes.critic.search import Search, SearchConfig, best_of, force_sampling_beam_search, search_each
from custodes.feedback.critique import Critique
from custodes.feedback.reading import select_rows
from custodes.feedback.teams import Person
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter
from custodes.lm.branches import Branches
from custodes.lm.cache import cache_folder
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, base_of, load
from custodes.ranges import Count, at_least, ranged
from custodes.reward import load_reward
from custodes.stats import Interval, calibration_curve, calibration_error
from custodes.types import InputError, Reward, Sampling

SEARCHES = {
    "free": "search",
    "proposed": "search, quotes proposed",
    "only-proposed": "search, only quotes proposed",
    "best-of": "best of {candidates}",
}
"""The ways of searching and how the report calls them; the last is what they are compared with: sampling as often."""
PLAIN = "best-of"
NAMES = {"rl": "RL", "warm-start": "warm start"}
ALONE = "person (simulated)"
STRICTNESS = (-1.0, 0.0, 1.0)
"""At which a scorer of lines is measured as a critic."""
RATERS = 3
"""Simulated raters whose agreement is told."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticEvaluate(ScoredRows):
    """Measure a critic on rows with known bugs; with --out, side by side with what others write, as a report."""

    out: Output | None = None
    """Write report.html and report.json here: splits side by side, what critics write, Elo, the frontier, subtlety."""
    writer: Path | None = None
    """Folder that `custodes critic tune` made, whose policies write critiques too."""
    questions: Annotated[int, at_least(2)] = 40
    """Functions of each split about which critiques are written."""
    searches: str = ",".join(SEARCHES)
    """Ways to search with the writer's reward, with commas between; empty for none. In free the critic writes its quotes. In
    proposed the quotes that the scorer of lines proposes are forced first; in only-proposed the critic adds none. For
    comparison, best-of draws as many whole critiques as a search has candidates, within its tokens."""
    quotes: Count = 4
    """Quotes that a search forces, one after another; 1 with only-proposed gives critiques of a single finding."""
    modifiers: str = ""
    """What a highlight is worth in further rows of every search, with commas between. Four rows are always there: as many
    highlights as the 10th, 25th, 50th and 75th percentile of sampled critiques."""
    max_tokens: Annotated[int, at_least(2)] = 120
    """Longest critique."""
    judge: Annotated[str, Use.MEANS] = ""
    """A model that says, too, whether comments on a bug's lines describe the bug: a name, a folder, or endpoint:URL#MODEL. Its
    agreement with the rules is told. The rules go on counting, so another judge may read the same. Empty for none."""
    evidence: bool = False
    """Run the functions in a sandbox, against their examples and what their names, docstrings and types promise."""
    proposer: Annotated[str, Use.MEANS] = ""
    """With --evidence: a model whose samples vote on what functions give, named as for custodes critique --model. Empty for none."""
    running: RunOptions = field(default_factory=RunOptions)
    proposing: ProposalOptions = field(default_factory=ProposalOptions)
    seed: int = 0
    """Decides what is drawn."""
    person: Person = field(default_factory=Person)

    def __post_init__(self) -> None:
        if self.writer is not None and self.out is None:
            raise InputError("--writer writes a report: name its folder with --out.")
        if self.judge and self.writer is None:
            raise InputError("--judge reads what critics write: name their folder with --writer.")
        if self.evidence and self.out is None:
            raise InputError("--evidence is a row of the report: name its folder with --out.")
        if self.proposer and not self.evidence:
            raise InputError("--proposer says what functions give when they are run: add --evidence.")
        for way in self.ways:
            if way not in SEARCHES:
                raise InputError(f"--searches: there is no search {way!r}; write {', '.join(SEARCHES)} or nothing.")
        _ = self.worths

    @property
    def ways(self) -> list[str]:
        """The ways of searching."""
        return [way.strip() for way in self.searches.split(",") if way.strip()]

    @property
    def worths(self) -> list[float]:
        """The modifiers that are named. Raises InputError for what is no number."""
        try:
            return [float(word) for word in self.modifiers.split(",") if word.strip()]
        except ValueError:
            example = "write numbers with commas between, as in -1,0.5."
            raise InputError(f"--modifiers is {self.modifiers!r}; {example}") from None

    @property
    def runs_as(self) -> str:
        """What the report calls findings with evidence."""
        return "running" + (f", {Path(self.proposer.split('#')[-1]).name} proposes" if self.proposer else "")

    def search(self, way: str) -> SearchConfig:
        """How is searched in one of the ways."""
        own = way != "only-proposed"
        return SearchConfig(rounds=self.quotes, max_tokens=self.max_tokens // 2, own_quotes=own, seed=self.seed)

    def named(self, policy: str, way: str) -> str:
        """What the report calls a policy that is searched in one of the ways."""
        return f"{policy} + {SEARCHES[way].format(candidates=self.search(way).candidates)}"


@command()
def critic_evaluate(config: CriticEvaluate) -> dict[str, Any] | LineEvaluation:
    """Measure a critic on rows with known bugs.

    With ``out`` the report is written there and returned; called again, it goes on where it was interrupted. What is
    written and every search is in the ledger of ``out``. Raises InputError for a file or a critic that cannot be read,
    where no row is left, and for a folder that holds a report with other options.
    """
    examples, opened = config.read(config.data), config.open()
    splits = dict.fromkeys(e.split for e in examples)
    if config.out is None:
        rows = [e.known_bug for e in select_rows(examples, config.rows, config.data.name)]
        return evaluate_lines(opened, rows, score_all(opened, [r.code for r in rows], "measuring"))
    scorer, writers = Remembered(opened), _Writers(config) if config.writer else None
    result: dict[str, Any] = {
        "data": config.data.name,
        "critic": Path(config.scorer_name).name,
        "tuned": config.writer.name if config.writer else "",
        "raters": "rules that know the bugs",
        "simulated_raters": RATERS,
        "simulated_person": asdict(config.person),
        "splits": {},
    }
    with Workspace.open(config.out, "critic evaluate", config, config.seed) as work:
        judge = Judge.open(config.judge, config.dtype, work) if config.judge else None
        for split in splits if len(splits) == 1 else [s for s in splits if s != TRAIN]:
            own = select_rows([e for e in examples if e.split == split], config.rows, split)
            with work.phase("lines", f"{split}: {len(own):,} rows"):
                of_lines = _lines(own, scorer)
            asked, written, policies = _policies(config, split, own, scorer, writers, work)
            told = Evaluation(f"critics-{split}", "critics", split, {**of_lines, "policies": policies}, len(own))
            if not work.has(told.id):
                work.write([told])
            judgments = {"judge": judge.read(split, asked, written)} if judge else {}
            result["splits"][split] = {**of_lines, "policies": {**policies, **judgments}}
        write_critics_page(result, config.out)
    return result


@in_words(critic_evaluate)
def _show(options: CriticEvaluate, told: dict[str, Any] | LineEvaluation) -> None:
    if not isinstance(told, dict):
        print(told)
        return
    for split, of in told["splits"].items():
        print(f"{split}: likeliest line is the bug's {Interval.from_dict(of['lines']['at_1'])}")
        widest = max(map(len, of["policies"]["policies"]))
        for policy, measured in of["policies"]["policies"].items():
            shown = (f"{name} {Interval.from_dict(measured[name])}" for name in ("cbi", "hallucinations", "nitpicks"))
            print(f"  {policy:<{widest + 3}}{'   '.join(shown)}")
        if judge := of["policies"].get("judge"):
            share, kappa = Interval.from_dict(judge["share"]), Interval.from_dict(judge["kappa"])
            print(
                f"  judge {judge['judge']} agrees with the rules on comments on bugs' lines: {share}; Cohen's kappa {kappa};"
            )
            read = f"verdicts read: {judge['comments']:,}, not read: {judge['unread']:,}"
            print(f"    {read}. Bugs included are counted by the rules.")
        if of["policies"]["runs"]:
            print(f"  by running: {of['policies']['runs']}")
        for found in of["policies"]["paper"]:
            print(f"  {found['verdict']}: {found['finding']} ({found['measured']})")
    print(f"The report is {options.out}/report.html.")


def _lines(examples: Sequence[BugExample], scorer: Remembered) -> dict[str, Any]:
    """The scorer on one split: localisation, alarms, the reliability diagram, and how subtle each operator's bugs are."""
    scores: list[LineScores] = scorer.scores([e.code for e in examples])
    curve = calibration_curve([1 - s.none for s in scores], [bool(e.bug_lines) for e in examples])
    hits = [int(s.order()[0]) in e.bug_lines for s, e in zip(scores, examples, strict=True)]
    likeliest = [float(s.lines.max()) for s in scores]
    return {
        "lines": evaluate_lines(scorer, [e.known_bug for e in examples], scores).to_dict()
        | {"curve": [{"predicted": b.predicted, "observed": b.observed.to_dict()} for b in curve]}
        | {"confidence_error": calibration_error(likeliest, hits, clusters=[e.function for e in examples]).to_dict()},
        "operators": {
            operator: {name: interval.to_dict() for name, interval in of.items()}
            for operator, of in subtlety(scores, examples).items()
        },
    }


def _policies(
    config: CriticEvaluate,
    split: str,
    examples: Sequence[BugExample],
    scorer: Remembered,
    writers: _Writers | None,
    work: Workspace,
) -> tuple[list[ReviewQuestion], dict[str, list[Rated]], dict[str, Any]]:
    """The first questions, what the writers say of them, and everybody's critiques of them rated and compared."""
    questions = [(e, review_question(replace(e, code=e.code.rstrip("\n")))) for e in examples]
    chosen = [(e, q) for e, q in questions if writers is None or writers.fits(q)][: config.questions]
    rows, asked = [e for e, _ in chosen], [q for _, q in chosen]
    if not asked:
        raise InputError(f"no function of {config.data} is short enough for the critics of {config.writer}.")
    written = writers.write(split, asked, scorer, work) if writers else {}
    policies = dict(written)
    for strictness in STRICTNESS:
        policies[_strictly("scorer of lines", strictness)] = [
            _rated_remarks(LineCritic(scorer, ""), q, strictness) for q in asked
        ]
    runs = ""
    if config.evidence:
        by_running = _by_running(config, split, rows, asked, work)
        policies |= {_strictly(config.runs_as, at): by_running.at(at) for at in STRICTNESS}
        runs = by_running.runs
    best = next(name for name in ("RL", "warm start", "scorer of lines") if name in policies)
    with_best = f"{ALONE} with {best}"
    models = list(policies)
    policies[ALONE] = alone(config.person, asked, config.seed)
    teams = {with_best: best} | ({f"{ALONE} with {config.runs_as}": config.runs_as} if config.evidence else {})
    policies |= {name: team(config.person, asked, policies[of], config.seed) for name, of in teams.items()}
    raters = [SimulatedRater(id=f"simulated-rater-{k}", seed=config.seed + k) for k in range(RATERS)]
    compared = compare(asked, policies, raters, tokens=writers.tokens if writers else None)
    plain = [name for name in models if name.startswith(tuple(config.named(of, PLAIN) for of in NAMES.values()))]
    paper = paper_findings(
        compared,
        warm_start=NAMES["warm-start"],
        rl=NAMES["rl"],
        sampled=["base", *NAMES.values()],
        searched=[config.named(name, way) for name in NAMES.values() for way in SEARCHES if way != PLAIN],
        matched=[name for name in models if "50th" in name and name not in plain],
        models=models,
        teams=list(teams),
        best_of=plain,
    )
    return asked, written, {**compared, "paper": paper, "runs": runs}


def _strictly(name: str, strictness: float) -> str:
    return name + (f", strictness {strictness:+g}" if strictness else "")


def _by_running(
    config: CriticEvaluate, split: str, rows: Sequence[BugExample], asked: Sequence[ReviewQuestion], work: Workspace
) -> FoundByRunning:
    """What running finds, from the ledger where it is there."""
    id = f"by-running-{split}"
    known = next((e.metrics for e in work.ledger.evaluations(work.run, "by running") if e.id == id), None)
    if known is not None:
        return FoundByRunning.from_dict(known)
    proposer = open_proposer(CriticChoice(model=config.proposer), config.proposing)
    with work.phase("running", f"{split}: {len(rows):,} functions"):
        found = find_by_running(rows, asked, config.running, proposer, cache_folder() / "critiques")
        work.write([Evaluation(id, "by running", split, found.to_dict(), len(rows))])
    return found


def _rated_remarks(critic: LineCritic, q: ReviewQuestion, strictness: float) -> Rated:
    remarks = [r for r in critic.review(Snippet("", 1, q.code, "")) if r.score + strictness >= 0]
    return rate_critique(Critique(tuple(r.finding for r in remarks)), q.code, q.bugs)


class _Writers:
    """The policies of a folder of ``custodes critic tune``."""

    def __init__(self, config: CriticEvaluate) -> None:
        self.config, folder = config, config.writer
        assert folder is not None
        trained = [name for name in reversed(WRITERS) if (folder / name / ADAPTER_CONFIG).is_file()]
        if not trained:
            raise InputError(f"{folder} holds no critic that writes; custodes critic tune makes one.")
        base = load(base_of(folder / trained[0]), dtype=config.dtype)
        adapted = {NAMES[name]: Adapter.load(folder / name, base.decoder) for name in trained}
        self.policies = {"base": base, **{name: replace(base, adapter=of) for name, of in adapted.items()}}
        has_reward = bool(config.ways) and (folder / REWARD).is_dir()
        self.reward = load_reward(folder / REWARD, config.dtype) if has_reward else None
        self.tokens: dict[str, list[int]] = {}
        """Policy -> tokens drawn for each critique of the questions written about last."""

    def fits(self, q: ReviewQuestion) -> bool:
        base = self.policies["base"]
        longest = max(self.config.max_tokens, self.config.quotes * (self.config.max_tokens // 2 + 16))
        return len(base.encode(q.task.messages)) + longest <= base.decoder.spec.context

    def write(
        self, split: str, asked: Sequence[ReviewQuestion], scorer: Remembered, work: Workspace
    ) -> dict[str, list[Rated]]:
        """One critique of every question by every policy; of each search those that every modifier chooses."""
        sampling = Sampling(max_tokens=self.config.max_tokens, seed=self.config.seed)
        found: dict[str, list[Rated]] = {}
        self.tokens = {}
        for name, lm in self.policies.items():
            with work.phase("writing", f"{split}: {name}"):
                drawn = work.sample(f"{split}, {name}", TorchEngine(lm), [q.task for q in asked], sampling)
                found[name], self.tokens[name] = rated(asked, drawn), [e.actions for e in drawn]
        if self.reward is None:
            return found
        last = list(self.policies)[-1]
        read = scorer.scores([f"{q.code}\n" for q in asked])
        proposed = [proposed_quotes(q.code, s.lines[:-1], self.config.quotes) for q, s in zip(asked, read, strict=True)]
        for way in self.config.ways:
            name = self.config.named(last, way)
            searches = self._searches(f"{split}, {name}", self.policies[last], self.reward, asked, proposed, way, work)
            aims: dict[float, list[str]] = {}
            for percentile, modifier in modifiers(searches, found[last]).items():
                aims.setdefault(modifier, []).append(f"{percentile}th")
            worths = {name: 0.0}  # several percentiles may aim at the same number of highlights
            worths |= {
                f"{name}, {', '.join(of)} percentile ({modifier:+.2g})": modifier for modifier, of in aims.items()
            }
            worths |= {f"{name}, modifier {modifier:+g}": modifier for modifier in self.config.worths}
            found |= {known_as: chosen_by(modifier, searches, asked) for known_as, modifier in worths.items()}
            self.tokens |= {known_as: [s.tokens for s in searches] for known_as in worths}
        return found

    def _searches(
        self,
        purpose: str,
        lm: LanguageModel,
        reward: Reward,
        asked: Sequence[ReviewQuestion],
        proposed: Sequence[list[str]],
        way: str,
        work: Workspace,
    ) -> list[Search]:
        """A policy's search, in one of the ways, for a critique of every question."""
        config, longest = self.config.search(way), self.config.max_tokens

        def search(i: int) -> Search:
            q = asked[i]
            if way == PLAIN:
                tree = Branches(lm, q.task, width=config.candidates, max_tokens=longest)
                sampling = Sampling(max_tokens=longest, seed=config.seed)
                most = config.candidates * config.max_tokens
                return best_of(tree, q.code, reward, config.candidates, sampling, tokens=most)
            options, quotes = replace(config, opening=q.opening), [] if way == "free" else proposed[i]
            return force_sampling_beam_search(lm, q.task, q.code, reward, options, quotes)

        title = "plain samples" if way == PLAIN else "force sampling beam search"
        with work.phase("search", f"{purpose}: {title}"):
            return search_each(work, purpose, [q.code for q in asked], config, search)
