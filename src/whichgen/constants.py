"""Names and defaults that more than one package uses."""

from __future__ import annotations

#: The origin of photographs.
REAL = "real"

#: The answer for an image whose generator is none of the known ones.
UNKNOWN = "unknown"

#: The answer for an image that a generator made, whichever it is.
SYNTHETIC = "synthetic"

#: Share of known validation images that the open-set threshold keeps: the true-positive rate.
TPR = 0.95

#: Vision encoder of a new model.
BACKBONE = "openai/clip-vit-base-patch16"

#: Images per forward pass of the encoder.
BATCH_SIZE = 32

#: Most images per class in each split, as in the paper; 0 means all.
SAMPLES_PER_CLASS = 4000

#: Shares of the known images in train, val and test.
SPLIT_FRACTIONS = (0.6, 0.2, 0.2)

#: The paper's sweep of C: exponents of ten of the smallest and largest value, number of values.
C_SWEEP = (-6, 5, 45)

#: The paper's sweep of k: smallest and largest value, number of values.
K_SWEEP = (1, 20, 20)

#: Solver steps after which a linear probe that has not converged is an error.
MAX_ITER = 1000

#: Bootstrap resamples of a confidence interval or a paired comparison.
RESAMPLES = 1000

#: Similar known images shown with an answer.
SIMILAR_IMAGES = 6

#: Bootstrap resamples of a confidence interval or a paired comparison.
RESAMPLES = 1000

#: Training images per class in the low-data experiment.
LOW_DATA_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000)

#: Images from which the few-shot experiment enrolls a new generator.
FEW_SHOT_SIZES = (1, 2, 5, 10, 20, 50)
