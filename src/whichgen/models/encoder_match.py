"""Check that an encoder is the one that a model was fitted on."""

from __future__ import annotations

import numpy as np

from whichgen.encoders.encoder import Encoder
from whichgen.errors import ModelFileError
from whichgen.models.array_validation import make_inconsistency_error, predict_and_validate
from whichgen.models.origin_model import OriginModel


def check_encoder(model: OriginModel, encoder: Encoder) -> None:
    """Check that an encoder's weights, preprocessing, precision and blocks are those of a model.

    Parameters
    ----------
    model
        The fitted model.
    encoder
        The encoder to compare with the encoder that the model was fitted on.

    Raises
    ------
    ModelFileError
        The encoder differs from the one that the model was fitted on, or its features have a width
        that the model does not accept.
    """
    description = encoder.describe()
    for key in ("weights_hash", "preprocessing", "dtype", "blocks"):
        if description[key] != model.encoder[key]:
            raise ModelFileError(
                f"the model was fitted on {model.encoder['name']} with {key} "
                f"{model.encoder[key]}, but the given encoder has {description[key]}. Use the "
                "same encoder, or fit the model again."
            )
    _check_feature_width(model, sum(encoder.block_dims[block] for block in model.blocks))


def _check_feature_width(model: OriginModel, width: int) -> None:
    """Check that the model accepts feature arrays with ``width`` columns.

    Parameters
    ----------
    model
        The fitted model.
    width
        Number of features of the blocks that the model uses.

    Raises
    ------
    ModelFileError
        The exemplars have another number of features, or :func:`predict_and_validate` fails on an
        array of zeros.
    """
    if model.n_features != width:
        raise make_inconsistency_error(
            f"exemplars have {model.n_features} features, but the encoder has {width}"
        )
    # With a single batch size, broadcasting could hide an array of the wrong shape.
    for n in (1, 2):
        predict_and_validate(model, np.zeros((n, width), dtype=np.float32))
