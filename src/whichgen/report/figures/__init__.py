"""Matplotlib figures: PNG files in the run folder, SVG in the HTML page."""
