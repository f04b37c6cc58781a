"""Programs that run inside a sandbox, on its own Python, beside the package whose tests they run."""
