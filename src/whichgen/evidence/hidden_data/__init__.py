"""Find data that are hidden in the pixels: invisible watermarks and generation parameters."""
