"""Select the exemplars of a model: images whose features are stored in it."""

from __future__ import annotations

import numpy as np

from whichgen.evaluation.predictions import encode_labels
from whichgen.models.origin_model import Exemplars
from whichgen.training.split_features import SplitFeatures

#: Maximum number of training images and of validation images per origin whose features are stored
#: in a model.
EXEMPLARS_PER_ORIGIN = (50, 100)


def select_exemplars(
    features: SplitFeatures, blocks: tuple[int, ...], *, thumbnails: bool
) -> Exemplars:
    """Draw training and validation images of each known origin, and return their features.

    The images are drawn at random with a fixed seed. The features are float16, or float32 if a
    value is too large for float16.

    Parameters
    ----------
    features
        Features of the training and validation images.
    blocks
        Indices of the blocks whose features are returned, concatenated.
    thumbnails
        Whether to include thumbnails of the images.

    Returns
    -------
    Exemplars
        At most :data:`EXEMPLARS_PER_ORIGIN` training and validation images per origin.

    Raises
    ------
    StoreError
        The features or the cached thumbnails can't be read or written.
    """
    rng = np.random.default_rng(0)
    origins = features.dataset.known
    tables = []
    for split, limit in zip(("train", "val"), EXEMPLARS_PER_ORIGIN, strict=True):
        table = features.tables[split]
        # The table "train" also contains the validation images if they are pooled.
        members = set(features.dataset.split(split))
        in_split = np.array([sample in members for sample in table.samples])
        rows = [
            rng.permutation(np.flatnonzero(in_split & (table.origins == o)))[:limit]
            for o in origins
        ]
        tables.append(table.take(np.sort(np.concatenate(rows))))
    x = np.concatenate([table.read_blocks(blocks) for table in tables])
    fits_float16 = np.abs(x).max() <= np.finfo(np.float16).max
    samples = [sample for table in tables for sample in table.samples]
    return Exemplars(
        x.astype(np.float16) if fits_float16 else x,
        np.concatenate([encode_labels(table.origins, origins) for table in tables]),
        np.repeat([False, True], [len(table) for table in tables]),
        tuple(features.reader.read_thumbnails(samples)) if thumbnails else (),
    )
