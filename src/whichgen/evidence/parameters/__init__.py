"""Read generation parameters: the settings with which a program generated an image."""
