"""Read benchmarks, write datasets as benchmarks, and prepare published benchmarks."""
