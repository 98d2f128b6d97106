"""Images and their origins: benchmarks, folders, splits, checks, decoding, perturbations."""
