"""Anthropic's red team (arXiv 2209.07858): ``rating`` 0 to 4 is how far the attack succeeded, by whoever made it."""

from __future__ import annotations

from custodes.dialogue import read_dialogue
from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.source import FeedbackRow
from custodes.registry import form


@form
class RedTeam(DatasetForm):
    """A dialogue in ``transcript``, its rating, and a label ``attack`` for each tag."""

    needs = ("transcript", "rating")
    uses = ("red_team_member_id", "tags")

    def read(self, row: FeedbackRow) -> None:
        turns = read_dialogue(row.text("transcript"))
        if len(turns) < 2 or turns[0].role != "user":
            raise row.bad("transcript", 'it should be a "\\n\\nHuman:" dialogue')
        prompt, rated, value = turns[:1], (turns[1:],), row.number("rating", 0, 4)
        about = {"axis": "attack success", "lowest": 0, "highest": 4}
        row.say(Rating, prompt, rated, value=value, annotator=row.annotator("red_team_member_id"), **about)
        for tag in row.values.get("tags") or []:
            row.say(Label, prompt, rated, name="attack", value=str(tag))
