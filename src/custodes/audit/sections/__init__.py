"""The report's sections, one a file: its rows, figures, claims, charts, template, and what is not recorded."""
