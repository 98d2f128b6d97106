"""Reports of runs and experiments: tables, figures, Markdown and one HTML page."""
