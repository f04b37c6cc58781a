"""Ways to one label per task from those of several annotators, one file each.

An aggregator is a function of a :class:`~custodes.feedback.labels.table.LabelTable` that yields round after round, see
:class:`~custodes.feedback.labels.rounds.EmRound`, marked with :data:`custodes.registry.aggregator`. It ends when the
probabilities hardly move; one of your own is ``--method FILE.py:name``.
"""
