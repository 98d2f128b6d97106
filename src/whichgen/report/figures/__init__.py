"""Matplotlib figures: PNG files in the output folder of a run, SVG in the HTML page."""
