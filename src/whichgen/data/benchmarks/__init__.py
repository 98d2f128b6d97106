"""Published benchmarks: their origins, splits and folders."""
