"""Language models: loading, sampling engines, log-probabilities.

Nothing is imported here: a name comes from the module that it lives in, and only that module is loaded.
"""
