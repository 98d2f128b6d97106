"""Image datasets: folders, tables, benchmarks, splits, checks, decoding and perturbations."""
