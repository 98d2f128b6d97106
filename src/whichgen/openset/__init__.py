"""Open-set recognition: scores, the threshold, and answers above single generators."""
