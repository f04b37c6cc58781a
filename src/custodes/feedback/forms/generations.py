"""distilabel: several generations with a rating each, from 1 to 5, or to 10 where one is above 5."""

from __future__ import annotations

from custodes.dialogue import as_completion
from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.prompts import PROMPT_COLUMNS, asked
from custodes.feedback.source import FeedbackRow, number_of, only_text
from custodes.registry import form


@form
class Generations(DatasetForm):
    """``generations`` and as many ``ratings``."""

    needs = ("generations", "ratings|rating")
    uses = PROMPT_COLUMNS

    def read(self, row: FeedbackRow) -> None:
        column = "ratings" if "ratings" in row.values else "rating"
        answers, given = row.items("generations", 1), row.items(column)
        if not only_text(answers) or len(answers) != len(given):
            raise row.bad(column, f"{len(given)} ratings of {len(answers)} generations; give one each")
        values = [number_of(one) for one in given]
        highest = 5 if all(v is None or v <= 5 for v in values) else 10
        row.assume(f"the ratings are from 1 to {highest}")
        prompt = asked(row) or ()
        for text, value in zip(answers, values, strict=True):
            if value is None or not 1 <= value <= highest:
                row.leave_out("ratings that are no number from 1 to 10")
            else:
                row.say(Rating, prompt, (as_completion(text),), value=value, lowest=1, highest=highest, by="ai")
