"""Image datasets: folder layouts, shards, tables, benchmarks, origins, splits, checks, images."""
