"""What a model is asked to see how it leans, a probe a file: a function from an engine and items to observations."""
