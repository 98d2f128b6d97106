"""Matplotlib figures of runs and experiments, for PNG files and for the HTML page (SVG)."""
