"""The forms of feedback that are read: what a table's columns are called, and what its rows mean.

A new form is a function of :class:`~custodes.feedback.forms.source.Source` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custodes.dialogue import from_json
from custodes.feedback.forms import comparisons, completions, own, preferences, processes, ratings, trees
from custodes.feedback.forms.prompts import PROMPT_COLUMNS
from custodes.feedback.forms.source import Source
from custodes.tables import Row

Values = Mapping[str, Any]


@dataclass(frozen=True)
class FeedbackForm:
    """One form. A table has it where each of ``needs`` (columns; "a|b" is either) is there and ``holds`` is so."""

    name: str
    needs: tuple[str, ...]
    read: Callable[[Row, Source], None]
    uses: tuple[str, ...] = ()
    """Further columns that are read."""
    holds: Callable[[Values], bool] = lambda values: True
    """Of the first value in each column: tells apart forms whose columns have the same names."""
    prepare: Callable[[Sequence[Row]], list[Row]] = list
    """What is done to all rows first."""

    def lacks(self, columns: Values) -> list[str]:
        """The columns that a table needs to have this form and has not."""
        return [need for need in self.needs if not any(name in columns for name in need.split("|"))]

    def columns(self) -> set[str]:
        """Every column that is read."""
        return {name for need in (*self.needs, *self.uses) for name in need.split("|")}


def _listed(column: str, kind: type) -> Callable[[Values], bool]:
    """Whether a column holds lists of ``kind``."""

    def holds(values: Values) -> bool:
        given = values[column]
        given = from_json(given) if isinstance(given, str) else given
        return isinstance(given, list) and bool(given) and isinstance(given[0], kind)

    return holds


_ANNOTATOR = preferences.ANNOTATOR
_SCORES = tuple(name for names in preferences.SCORES.values() for name in names)
_PREFERENCE = (*PROMPT_COLUMNS, "label", "weight", "margin", *_ANNOTATOR, *_SCORES)
_COMPLETION = (*PROMPT_COLUMNS, "weight", *_ANNOTATOR)
_VERDICT = "|".join(comparisons.COMPARISON_VERDICTS)

_JUDGED = (
    "rating",
    "ratings",
    "score",
    "scores",
    "rank",
    "reward",
    "winner",
    "preference",
    "feedback",
    "votes",
    "is_safe",
)

FORMS = (
    FeedbackForm("judgments", ("kind", "task", "annotator"), own.judgment),
    FeedbackForm(
        "preferences",
        ("|".join(preferences.SIDES["chosen"]), "|".join(preferences.SIDES["rejected"])),
        preferences.preferences,
        _PREFERENCE,
    ),
    FeedbackForm(
        "summarize_from_feedback, comparisons", ("info", "summaries", "choice"), comparisons.summarize, ("worker",)
    ),
    FeedbackForm("summarize_from_feedback, axis", ("info", "summary"), ratings.summary_axes, ("worker",)),
    FeedbackForm("SHP", ("history", "human_ref_A", "human_ref_B", "labels"), comparisons.shp),
    FeedbackForm(
        "PKU-SafeRLHF",
        ("prompt", "response_0", "response_1", "better_response_id|safer_response_id"),
        comparisons.safe_rlhf,
        ("better_response_id", "safer_response_id", "is_response_0_safe", "is_response_1_safe"),
    ),
    FeedbackForm("BeaverTails", ("prompt", "response", "is_safe"), ratings.beaver, ("category",)),
    FeedbackForm("arena conversations", ("conversation_a", "conversation_b", "winner"), comparisons.arena, ("judge",)),
    FeedbackForm(
        "arena 55k",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        comparisons.arena_flags,
    ),
    FeedbackForm("HelpSteer 3", ("context", "response1", "response2", "overall_preference"), comparisons.helpsteer_3),
    FeedbackForm(
        "HelpSteer 2, preference",
        ("prompt", "response_1", "response_2", "preference_strength"),
        comparisons.helpsteer_preference,
    ),
    FeedbackForm(
        "HelpSteer", ("prompt", "response", "helpfulness", "correctness"), ratings.helpsteer, ratings.HELPSTEER
    ),
    FeedbackForm("WebGPT", ("question", "answer_0", "answer_1", "score_0", "score_1"), comparisons.webgpt),
    FeedbackForm(
        "OpenAssistant trees",
        ("prompt", "message_tree_id"),
        trees.tree,
        holds=lambda values: isinstance(values["prompt"], dict),
    ),
    FeedbackForm(
        "OpenAssistant messages",
        ("message_id", "text", "role", "message_tree_id"),
        trees.tree,
        ("parent_id", "rank", "labels", "user_id", "deleted", "synthetic", "review_result", "prompt"),
        prepare=trees.tree_rows,
    ),
    FeedbackForm("red team attempts", ("transcript", "rating"), ratings.red_team, ("red_team_member_id", "tags")),
    FeedbackForm(
        "PRM800K",
        ("question", "label"),
        processes.prm800k,
        ("labeler",),
        lambda values: isinstance(values["label"], dict) and "steps" in values["label"],
    ),
    FeedbackForm(
        "stepwise supervision",
        ("completions", "labels"),
        processes.stepwise,
        (*PROMPT_COLUMNS, "annotator"),
        _listed("completions", str),
    ),
    FeedbackForm("BIG-Bench-Mistake", ("input", "steps", "target"), processes.step_mistakes, ("mistake_index",)),
    FeedbackForm(
        "UltraFeedback",
        ("instruction", "completions"),
        ratings.ultrafeedback,
        PROMPT_COLUMNS,
        _listed("completions", dict),
    ),
    FeedbackForm("Nectar", ("prompt", "answers"), comparisons.nectar, PROMPT_COLUMNS, _listed("answers", dict)),
    FeedbackForm("distilabel generations", ("generations", "ratings|rating"), ratings.generations, PROMPT_COLUMNS),
    FeedbackForm(
        "Fine-grained RLHF",
        ("question", "feedback", "prediction 1", "prediction 2", "prediction 3", "prediction 4"),
        processes.fine_grained,
        ("preference",),
    ),
    FeedbackForm("SQuALITY", ("passage-id", "questions"), ratings.squality),
    *(
        FeedbackForm(
            "two answers and a winner", (*pair, _VERDICT), comparisons.two_answers, (*PROMPT_COLUMNS, *_ANNOTATOR)
        )
        for pair in comparisons.TWO
    ),
    FeedbackForm(
        "labelled completions",
        ("|".join((*completions.ANSWERS, *completions.WHOLE)), "|".join(completions.COMPLETION_VERDICTS)),
        completions.labelled,
        _COMPLETION,
    ),
    FeedbackForm(
        "demonstrations",
        ("|".join((*completions.ANSWERS, *completions.WHOLE)),),
        completions.demonstrated,
        _COMPLETION,
        lambda values: not any(name in values for name in _JUDGED),  # an answer that was judged is no demonstration
    ),
)
"""In the order in which they are tried."""
