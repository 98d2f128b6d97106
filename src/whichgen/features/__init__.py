"""Extract the features of encoder blocks, and store them on disk for reuse."""
