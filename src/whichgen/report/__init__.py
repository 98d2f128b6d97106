"""Reports of runs, experiments and groups of similar images: tables, figures, Markdown and HTML."""
