"""Results as files: JSON, Markdown, CSV and plots."""
