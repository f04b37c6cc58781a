"""Who judges and what they say: simulated annotators, the annotator model, agreement, import and export.

Nothing is imported here: a name comes from the module that it lives in, and only that module is loaded.
"""
