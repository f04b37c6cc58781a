"""Replies to the same held-out tasks under the base policy, where gold was highest, and at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.audit.heldout import shared_tasks, task_matrix
from custodes.audit.record import ArmSection
from custodes.audit.rows import PolicyHeldout
from custodes.registry import section

SHOWN = 3  # tasks


@section
class RepliesSection(ArmSection):
    """What a person reads to see whether a policy games its reward: the first tasks, not chosen by their scores."""

    title = "Replies on the way"
    place = 55
    what = "replies to held-out tasks"
    template = """
<p class="reading">The first held-out tasks; no score had a part in the choice.</p>
{% for arm, tasks in figures.items() %}{{ arm_title(arm, source.arms) }}
{% for t in tasks %}<article class="example{{ " three" if t.replies | length == 3 }}">
  <div class="prompt">{% for m in t.prompt %}<p><span class="role">{{ m.role }}</span>{{ m.content }}</p>{% endfor %}</div>
  {% for r in t.replies %}<div class="side"><p class="kicker">{{ r.moment }} <span>proxy {{ r.proxy | number }}{% if r.gold is not none %} · gold {{ r.gold | number }}{% endif %}</span></p><p class="text">{{ r.text or "(empty)" }}</p></div>{% endfor %}
</article>{% endfor %}
{% else %}{{ absent("Replies to held-out tasks") }}{% endfor %}
"""

    def read_arm(self, arm: str) -> list[dict[str, Any]]:  # type: ignore[override]
        rows = self.source.heldout.get(arm, [])
        if len(rows) < 2:
            return []
        moments = {"base": rows[0], f"step {rows[-1].step}, the end": rows[-1]}
        gold = task_matrix(rows, "gold")
        if gold is not None and 0 < (peak := int(np.argmax(gold.mean(axis=1)))) < len(rows) - 1:
            moments = {"base": rows[0], f"step {rows[peak].step}, gold highest": rows[peak]} | moments
        shown, shared, episodes = [], set(shared_tasks(rows)), self.source.episodes
        for task in [task for task in dict.fromkeys(rows[0].task) if task in shared][:SHOWN]:
            replies = [_reply(moment, row, task) for moment, row in moments.items()]
            if all(r["episode"] in episodes for r in replies):
                asked = [m.to_dict() for m in episodes[replies[0]["episode"]].task.messages]
                texts = [r | {"text": episodes[r["episode"]].completion} for r in replies]
                shown.append({"task": task, "prompt": asked, "replies": texts})
        return shown

    def missing_of(self, figures: Any) -> list[str]:
        return []


def _reply(moment: str, row: PolicyHeldout, task: str) -> dict[str, Any]:
    """The first of the task's replies at one checkpoint."""
    i = row.task.index(task)
    return {
        "moment": moment, "episode": row.episode[i], "proxy": row.proxy[i], "gold": None if row.gold is None else row.gold[i]
    }  # fmt: skip
