"""Open-set recognition: scores, thresholds, and coarser predictions for rejected images."""
