"""Reports of runs and experiments: tables, figures, Markdown files and an HTML page."""
