"""Matplotlib figures: PNG files in the folder of a run, SVG in the HTML page."""
