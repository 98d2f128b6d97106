"""Image datasets: benchmarks, folders, splits, checks, decoding and perturbations."""
