"""Critics measured side by side on anybody's rows: what ``custodes critic evaluate`` does.

A scorer of lines is measured on every split, and what it would write is a policy beside those of ``custodes critic tune``
(base, warm start, RL, and RL searched in three ways and sampled as often without a search, at several modifiers) and beside
simulated people alone and with the best of them. All write about the same functions; the rules rate them, and a model that
is named as judge is set beside the rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from custodes.critic.choice import REWARD, WRITERS
from custodes.critic.judge import Judge, open_judge
from custodes.critic.line_training import LineEvaluation, evaluate_lines
from custodes.critic.lines import LineScorer, LineScores, ScoresLines
from custodes.critic.panel import compare
from custodes.critic.paper import Found, paper_findings
from custodes.critic.policies import Question, modifiers, rated
from custodes.critic.rating import Rated, SimulatedRater, rate
from custodes.critic.report import write_critics_page
from custodes.critic.review import LineCritic, Snippet
from custodes.critic.review.question import opening_of, task_of
from custodes.critic.review.search_critic import proposed_quotes
from custodes.critic.rows import LIKELIHOOD, SHIPPED, TRAIN, Row, open_scorer, read_rows, score_all, show_lines
from custodes.critic.search import Search, SearchConfig, best_of, force_sampling_beam_search
from custodes.critic.searches import search_each
from custodes.critic.simulated_reviews import alone, team
from custodes.critic.subtlety import subtlety, told
from custodes.critic.tamper.bugs import Bug
from custodes.feedback.critique import Critique
from custodes.feedback.reading import select_rows
from custodes.feedback.teams import Person
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation
from custodes.lm import Adapter, Branches, LanguageModel, TorchEngine, load
from custodes.lm.adapter import ADAPTER_CONFIG
from custodes.lm.loading import DtypeName, base_of
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
class CriticEvaluate:
    """Measure a critic on rows with known bugs; with --out, side by side with what others write, as a report."""

    data: Path
    """Rows with id, code and bug_lines, JSON Lines; an empty bug_lines is a clean function."""
    critic: str = ""
    """Folder of a trained critic; shipped: the one that comes with Custodes; or likelihood: what the untrained model finds
    surprising. Where it is not named: shipped, or with another model its likelihood."""
    model: str = "smollm2-135m"
    """The model of likelihood; the base of a critic, where it is not the one that its folder names."""
    split: str = ""
    """Only rows of this split, for example "held-out packages"; all where empty."""
    rows: str = ""
    """Use rows FIRST:END of these only, counted from 0 and without END, e.g. 0:300."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    out: Output | None = None
    """Write report.html and report.json here: splits side by side, what critics write, Elo, the frontier, subtlety."""
    tuned: Path | None = None
    """Folder that `custodes critic tune` made, whose policies write critiques too."""
    questions: Annotated[int, at_least(2)] = 40
    """Functions of each split about which critiques are written."""
    searches: str = ",".join(SEARCHES)
    """Search with the reward of the folder, too, in these ways: free (the critic writes its quotes), proposed (quotes
    that the scorer of lines proposes are forced first), only-proposed (and the critic adds none); and best-of, to compare
    with: no search, but as many whole critiques as it has candidates, within its tokens. Empty for none."""
    rounds: Count = 4
    """Quotes that a search forces, one after another; 1 with only-proposed gives critiques of a single finding."""
    modifiers: str = ""
    """What a highlight is worth in further rows of every search, with commas between, beside the four whose critiques have
    as many highlights as the 10th to 75th percentile of sampled ones."""
    max_tokens: Annotated[int, at_least(2)] = 120
    """Longest critique."""
    judge: Annotated[str, Use.MEANS] = ""
    """Let a model say, too, whether comments on a bug's lines describe the bug: a name, a folder, or endpoint:URL#MODEL. Its
    agreement with the rules is told; the rules go on counting, so that another may read the same. Empty for none."""
    seed: int = 0
    """Decides what is drawn."""
    person: Person = field(default_factory=Person)

    def __post_init__(self) -> None:
        if self.tuned is not None and self.out is None:
            raise InputError("--tuned writes a report: name its folder with --out.")
        if self.judge and self.tuned is None:
            raise InputError("--judge reads what critics write: name their folder with --tuned.")
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
            raise InputError(
                f"--modifiers is {self.modifiers!r}; write numbers with commas between, as in -1,0.5."
            ) from None


@dataclass(frozen=True, slots=True)
class Case:
    """A row: code to criticise, its bugs, and what for."""

    row: Row
    asked: Question
    operators: tuple[str, ...]

    @property
    def lines(self) -> tuple[int, ...]:
        return self.row.bug.lines


@command()
def critic_evaluate(config: CriticEvaluate) -> dict[str, Any] | LineEvaluation:
    """Measure a critic on rows with known bugs.

    Raises InputError for a file or a critic that cannot be read, and where no row is left.
    """
    if config.out is not None:
        return _report(config)
    rows = [r for r in read_rows(config.data) if not config.split or r.split == config.split]
    if not rows:
        raise InputError(f"{config.data} has no row of split {config.split!r}.")
    rows = select_rows(rows, config.rows, config.data.name)
    scorer, examples = open_scorer(config.critic, config.model, config.dtype), [r.bug for r in rows]
    return evaluate_lines(scorer, examples, score_all(scorer, examples, "measuring"))


@in_words(critic_evaluate)
def _show(options: CriticEvaluate, told: dict[str, Any] | LineEvaluation) -> None:
    if not isinstance(told, dict):
        show_lines(told)
        return
    for split, of in told["splits"].items():
        print(f"{split}: likeliest line is the bug's {Interval.from_dict(of['lines']['at_1'])}")
        for policy, measured in of["policies"]["policies"].items():
            shown = (f"{name} {Interval.from_dict(measured[name])}" for name in ("cbi", "hallucinations", "nitpicks"))
            print(f"  {policy:<34}{'   '.join(shown)}")
        if "judge" in of["policies"]:
            _show_judge(of["policies"]["judge"])
        for found in of["policies"]["paper"]:
            print(f"  {found['verdict']}: {found['finding']} ({found['measured']})")
    print(f"The report is {options.out}/report.html.")


def _show_judge(told: dict[str, Any]) -> None:
    share, kappa = Interval.from_dict(told["share"]), Interval.from_dict(told["kappa"])
    print(f"  judge {told['judge']} agrees with the rules on comments on bugs' lines: {share}; Cohen's kappa {kappa};")
    print(
        f"    verdicts read: {told['comments']:,}, not read: {told['unread']:,}. Bugs included are counted by the rules."
    )


def _report(config: CriticEvaluate) -> dict[str, Any]:
    """Measure, write the report into ``out``, and return it; called again, it goes on where it was interrupted.

    What is written and every search is in ``out``'s ledger. Raises InputError for rows or folders that cannot be read,
    and for a folder that holds a report with other options.
    """
    assert config.out is not None
    cases = read_cases(config.data)
    splits = dict.fromkeys(c.row.split for c in cases)
    chosen = [s for s in splits if s == config.split or (not config.split and (s != TRAIN or len(splits) == 1))]
    if not chosen:
        raise InputError(f"{config.data} has no row of split {config.split!r}.")
    scorer = Remembered(open_scorer(config.critic, config.model, config.dtype))
    writers = _Writers.open(config) if config.tuned else None
    engine = open_judge(config.judge, config.dtype) if config.judge else None
    with Workspace.open(config.out, "critic evaluate", config, config.seed) as work:
        named = Judge(config.judge, engine, work) if engine else None
        if named and not named.recorded:
            named.reach()  # before hours are spent on what it would read
        of_split = {s: [c for c in cases if c.row.split == s] for s in chosen}
        result = _measure(config, of_split, scorer, writers, named, work)
        write_critics_page(result, config.out)
    return result


def _measure(
    config: CriticEvaluate,
    cases: Mapping[str, Sequence[Case]],
    scorer: Remembered,
    writers: _Writers | None,
    judge: Judge | None,
    work: Workspace,
) -> dict[str, Any]:
    """The report, split by split; each goes into the ledger when it is done."""
    result: dict[str, Any] = {
        "data": config.data.name,
        "critic": Path(config.critic).name or (SHIPPED if isinstance(scorer.scorer, LineScorer) else LIKELIHOOD),
        "tuned": config.tuned.name if config.tuned else "",
        "raters": "rules that know the bugs",
        "simulated_raters": RATERS,
        "simulated_person": {name: getattr(config.person, name) for name in Person.__dataclass_fields__},
        "splits": {},
    }
    for split, all_of_it in cases.items():
        own = select_rows(all_of_it, config.rows, split)
        with work.phase("lines", f"{split}: {len(own):,} rows"):
            read = _read(own, scorer, work)
        asked, written, policies = _policies(split, own, scorer, writers, config, work)
        found = {**_of_lines(own, read, scorer), "policies": policies}
        told = Evaluation(f"critics-{split}", "critics", split, found, len(own))
        if not work.has(told.id):
            work.ledger.write(work.run, [told])
        if judge:
            policies = policies | {"judge": judge.read(split, asked, written)}
        result["splits"][split] = found | {"policies": policies}
    return result


def read_cases(path: Path) -> list[Case]:
    """Rows as :func:`read_rows` takes them, with ``description``, ``question`` and ``bugs`` where they have them.

    A row whose ``kind`` is "answer" holds an assistant's answer in ``code``: its bugs are what is wrong with it.
    """
    rows = read_rows(path)
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [_case(row, extra) for row, extra in zip(rows, given, strict=True)]


def _case(row: Row, given: Mapping[str, Any]) -> Case:
    try:
        bugs = tuple(Bug(b["operator"], tuple(b["lines"]), b["description"], b["original"]) for b in given["bugs"])
    except (KeyError, TypeError):
        bugs = (Bug("", row.bug.lines, str(given.get("description") or ""), ""),) if row.bug.lines else ()
    text = row.bug.code.rstrip("\n")
    kind: Literal["code", "answer"] = "answer" if given.get("kind") == "answer" else "code"
    snippet = Snippet("", 1, text, "", str(given.get("question") or ""), kind)
    return Case(
        row,
        Question(task_of(snippet), text, bugs, opening_of(snippet), row.function),
        tuple(b.operator for b in bugs if b.operator),
    )


class Remembered:
    """A scorer that reads a function once."""

    def __init__(self, scorer: ScoresLines) -> None:
        self.scorer, self.known = scorer, dict[str, LineScores]()
        self.temperature, self.level, self.threshold = scorer.temperature, scorer.level, scorer.threshold

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """As the scorer's own."""
        new = list(dict.fromkeys(code for code in codes if code not in self.known))
        self.known |= dict(zip(new, self.scorer.scores(new), strict=True)) if new else {}
        return [self.known[code] for code in codes]


READ = 32
"""Functions that a scorer reads between two looks at the time left."""


def _read(cases: Sequence[Case], scorer: Remembered, work: Workspace) -> list[LineScores]:
    """What the scorer of lines says of every row."""
    codes, scores = [c.row.bug.code for c in cases], []
    with work.progress("reading", len(codes)) as advance:
        for start in range(0, len(codes), READ):
            scores += scorer.scores(codes[start : start + READ])
            advance(len(codes[start : start + READ]))
    return scores


def _of_lines(cases: Sequence[Case], scores: Sequence[LineScores], scorer: Remembered) -> dict[str, Any]:
    """The scorer on one split: localisation, alarms, the reliability diagram, and how subtle each operator's bugs are."""
    rows = [c.row.bug for c in cases]
    curve = calibration_curve([1 - s.none for s in scores], [bool(c.lines) for c in cases])
    hits = [int(s.order()[0]) in c.lines for s, c in zip(scores, cases, strict=True)]
    functions = [c.row.function for c in cases]
    confidence = calibration_error([float(s.lines.max()) for s in scores], hits, clusters=functions)
    return {
        "lines": evaluate_lines(scorer, rows).to_dict()
        | {"curve": [{"predicted": b.predicted, "observed": b.observed.to_dict()} for b in curve]}
        | {"confidence_error": confidence.to_dict()},
        "operators": told(subtlety(scores, [c.lines for c in cases], [c.operators for c in cases], functions)),
    }


def _policies(
    split: str,
    cases: Sequence[Case],
    scorer: Remembered,
    writers: _Writers | None,
    config: CriticEvaluate,
    work: Workspace,
) -> tuple[list[Question], dict[str, list[Rated]], dict[str, Any]]:
    """The first questions, what the writers say of them, and everybody's critiques of them rated and compared."""
    fitting = [c.asked for c in cases if writers is None or writers.fits(c.asked)]
    asked = fitting[: config.questions]
    if not asked:
        raise InputError(f"no function of {config.data} is short enough for the critics of {config.tuned}.")
    written = writers.write(split, asked, scorer, work) if writers else {}
    policies = dict(written)
    for strictness in STRICTNESS:
        name = "scorer of lines" + (f", strictness {strictness:+g}" if strictness else "")
        policies[name] = [_of_scorer(q, scorer, strictness) for q in asked]
    best = "RL" if "RL" in policies else "warm start" if "warm start" in policies else "scorer of lines"
    policies[ALONE] = alone(config.person, asked, config.seed)
    policies[_team_with(best)] = team(config.person, asked, policies[best], config.seed)
    raters = [SimulatedRater(id=f"simulated-rater-{k}", seed=config.seed + k) for k in range(RATERS)]
    compared = compare(asked, policies, raters, tokens=writers.tokens if writers else None)
    return asked, written, {**compared, "paper": [found.to_dict() for found in _paper(compared, best, config)]}


def _paper(compared: Mapping[str, Any], best: str, config: CriticEvaluate) -> list[Found]:
    people = [ALONE, _team_with(best)]
    models = [name for name in compared["policies"] if name not in people]
    plain = [name for name in models if name.startswith(tuple(_named(of, PLAIN, config) for of in NAMES.values()))]
    return paper_findings(
        compared,
        warm_start=NAMES["warm-start"],
        rl=NAMES["rl"],
        sampled=["base", *NAMES.values()],
        searched=[_named(name, way, config) for name in NAMES.values() for way in SEARCHES if way != PLAIN],
        matched=[name for name in models if "50th" in name and name not in plain],
        models=models,
        teams=people[1:],
        best_of=plain,
    )


def _team_with(policy: str) -> str:
    return f"{ALONE} with {policy}"


def _named(policy: str, way: str, config: CriticEvaluate) -> str:
    return f"{policy} + {SEARCHES[way].format(candidates=_search_config(config, way).candidates)}"


def _search_config(config: CriticEvaluate, way: str) -> SearchConfig:
    own = way != "only-proposed"
    return SearchConfig(rounds=config.rounds, max_tokens=config.max_tokens // 2, own_quotes=own, seed=config.seed)


def _of_scorer(q: Question, scorer: Remembered, strictness: float) -> Rated:
    remarks = LineCritic(scorer, "", strictness=strictness).review(Snippet("", 1, q.code, ""))
    return rate(Critique(tuple(r.finding for r in remarks)), q.code, q.bugs)


@dataclass(eq=False)
class _Writers:
    """The policies of a folder of ``custodes critic tune``."""

    policies: dict[str, LanguageModel]
    reward: Reward | None
    config: CriticEvaluate
    tokens: dict[str, list[int]] = field(default_factory=dict)
    """Policy -> tokens drawn for each critique of the questions written about last."""

    @classmethod
    def open(cls, config: CriticEvaluate) -> _Writers:
        folder = config.tuned
        assert folder is not None
        trained = [name for name in reversed(WRITERS) if (folder / name / ADAPTER_CONFIG).is_file()]
        if not trained:
            raise InputError(f"{folder} holds no critic that writes; custodes critic tune makes one.")
        base = load(base_of(folder / trained[0]), dtype=config.dtype)
        policies = {"base": base}
        for name in trained:
            adapter = Adapter.load(folder / name, base.decoder)
            policies[NAMES[name]] = replace(base, adapter=adapter)
        has_reward = bool(config.ways) and (folder / REWARD).is_dir()
        return cls(policies, load_reward(folder / REWARD, config.dtype) if has_reward else None, config)

    def fits(self, q: Question) -> bool:
        base = self.policies["base"]
        longest = max(self.config.max_tokens, self.config.rounds * (self.config.max_tokens // 2 + 16))
        return len(base.encode(q.task.messages)) + longest <= base.decoder.spec.context

    def write(
        self, split: str, asked: Sequence[Question], scorer: Remembered, work: Workspace
    ) -> dict[str, list[Rated]]:
        """One critique of every question by every policy; of each search those that every modifier chooses."""
        sampling = Sampling(max_tokens=self.config.max_tokens, seed=self.config.seed)
        found: dict[str, list[Rated]] = {}
        self.tokens = {}
        for name, lm in self.policies.items():
            with work.phase("writing", f"{split}: {name}"):
                drawn = work.sample(f"{split}, {name}", TorchEngine(lm), [q.task for q in asked], sampling)
                found[name], self.tokens[name] = rated(asked, drawn), [e.actions for e in drawn]
        last = list(self.policies)[-1]
        if self.reward is not None:
            highlights = [sum(f.kind != "misquote" for f in r.findings) for r in found[last]]
            proposed = [
                proposed_quotes(q.code, scorer.scores([f"{q.code}\n"])[0].lines[:-1], self.config.rounds) for q in asked
            ]
            for way in self.config.ways:
                name = _named(last, way, self.config)
                searches = self._searches(f"{split}, {name}", last, asked, proposed, way, work)
                of_way = {name: _chosen(searches, asked, 0.0)}
                aims: dict[float, list[str]] = {}
                for percentile, modifier in modifiers(searches, highlights).items():
                    aims.setdefault(modifier, []).append(f"{percentile}th")
                for modifier, percentiles in aims.items():  # several may aim at the same number of highlights
                    known_as = f"{name}, {', '.join(percentiles)} percentile ({modifier:+.2g})"
                    of_way[known_as] = _chosen(searches, asked, modifier)
                for modifier in self.config.worths:
                    of_way[f"{name}, modifier {modifier:+g}"] = _chosen(searches, asked, modifier)
                found |= of_way
                self.tokens |= {known_as: [s.tokens for s in searches] for known_as in of_way}
        return found

    def _searches(
        self,
        purpose: str,
        policy: str,
        asked: Sequence[Question],
        proposed: Sequence[list[str]],
        way: str,
        work: Workspace,
    ) -> list[Search]:
        """A policy's search, in one of the ways, for a critique of every question."""
        lm, reward, config = self.policies[policy], self.reward, _search_config(self.config, way)
        assert reward is not None

        def search(i: int) -> Search:
            q, options = asked[i], replace(config, opening=asked[i].opening)
            return force_sampling_beam_search(lm, q.task, q.code, reward, options, [] if way == "free" else proposed[i])

        def sample(i: int) -> Search:
            q, n, longest = asked[i], config.candidates, self.config.max_tokens
            tree = Branches(lm, q.task, width=n, max_tokens=longest)
            sampling = Sampling(max_tokens=longest, seed=self.config.seed)
            return best_of(tree, q.code, reward, n, sampling, tokens=n * config.max_tokens)

        title = "plain samples" if way == PLAIN else "force sampling beam search"
        with work.phase("search", f"{purpose}: {title}"):
            return search_each(work, purpose, asked, config, sample if way == PLAIN else search)


def _chosen(searches: Sequence[Search], asked: Sequence[Question], modifier: float) -> list[Rated]:
    return [rate(s.chosen(modifier).critique, q.code, q.bugs) for s, q in zip(searches, asked, strict=True)]
