"""Read, write and prepare published benchmarks."""
