"""Default settings shared by the library, the command line and the service."""

import os
from pathlib import Path

#: Cache folder for features, image facts, splits, sweeps, and converted networks and weights.
#: Without a home folder, it is relative to the working folder (``Path.home()`` would raise an
#: error).
CACHE_DIR = Path(os.path.expanduser("~/.cache/whichgen"))  # noqa: PTH111

#: Minimum true-positive rate: fraction of the known validation images that the open-set threshold
#: accepts. It is not used if the threshold is chosen by precision.
TPR = 0.95

#: For models trained with sources: minimum fraction of correct answers among the held-out images
#: that are attributed to a generator.
PRECISION = 0.95

#: Maximum fraction of held-out real images that are attributed to a generator, and maximum fraction
#: that are classified as ``synthetic``. Used only if the threshold is chosen by precision.
FPR = 0.02

#: Default vision encoder.
BACKBONE = "openai/clip-vit-base-patch16"

#: Number of images per forward pass of the encoder.
BATCH_SIZE = 32

#: Maximum number of images per class in each split, as in the paper; 0 for no limit.
SAMPLES_PER_CLASS = 4000

#: Fractions of the known images in the training, validation and test sets.
SPLIT_FRACTIONS = (0.6, 0.2, 0.2)

#: The paper's sweep of C: log10 of the smallest and largest value, and number of values.
C_SWEEP = (-6, 5, 45)

#: The paper's sweep of k: smallest and largest value, and number of values.
K_SWEEP = (1, 20, 20)

#: Maximum number of solver iterations. A linear probe that needs more can't be selected.
MAX_ITER = 1000

#: Number of bootstrap resamples for a confidence interval or a paired comparison.
RESAMPLES = 1000

#: Maximum number of similar images (exemplars or images of a gallery) shown for each image.
SIMILAR_IMAGES = 6

#: Numbers of training images per class in the low-data experiment.
LOW_DATA_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000)

#: Numbers of images used to enroll a new generator in the few-shot experiment.
FEW_SHOT_SIZES = (1, 2, 5, 10, 20, 50)

#: Minimum number of images in a group that HDBSCAN finds (:mod:`whichgen.inference.discover`).
MIN_GROUP_SIZE = 5
