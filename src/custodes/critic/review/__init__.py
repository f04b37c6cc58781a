"""Review of code by a critic: files in, findings out."""
