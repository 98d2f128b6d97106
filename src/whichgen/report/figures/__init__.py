"""All figures, drawn with matplotlib: PNG files in a run's folder, SVG in the HTML page."""
