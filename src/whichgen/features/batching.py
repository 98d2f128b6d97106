"""Encode images in batches, and halve the batch size if memory is insufficient."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import numpy as np

from whichgen.encoders.encoder import Encoder
from whichgen.errors import EncoderError, WhichgenWarning
from whichgen.option_names import name_option

#: Phrases, in lower case, of the out-of-memory messages of torch, CUDA and OpenVINO, which share no
#: exception class.
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "bad_alloc", "failed to allocate")


class BatchEncoder:
    """Callable that encodes preprocessed images in batches that fit in memory.

    After an out-of-memory error, this and all later calls use smaller batches.

    Parameters
    ----------
    encoder
        The encoder.
    pad_to
        Fixed number of images per batch: a larger number of images is divided into several batches,
        and an incomplete batch is padded. If ``pad_to`` is 0, batches are not padded, and images
        are divided only after an out-of-memory error. Rounding errors depend on the batch size, but
        not on the other images in the batch. With a fixed batch size that fits in memory, the
        features of an image are therefore bitwise reproducible on a device.
    """

    def __init__(self, encoder: Encoder, *, pad_to: int = 0) -> None:
        self.encoder = encoder
        self._pad_to = pad_to
        self._limit = pad_to or sys.maxsize

    def __call__(self, pixels: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels
            Preprocessed images: n ≥ 1 float32 arrays of the same shape.
        names
            Names of the n images, for error messages.

        Returns
        -------
        list of float32 arrays (n, d_b), one per block b

        Raises
        ------
        EncoderError
            A feature is not finite, memory is insufficient for a single image, or OpenVINO can't
            compile the network.
        RuntimeError
            The encoder fails for another reason.

        Warns
        -----
        WhichgenWarning
            Memory is insufficient for a batch; the batch size is halved.
        """
        outputs: list[list[np.ndarray]] = []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self._limit]
            padding = max(0, min(self._pad_to, self._limit) - len(batch))
            try:
                blocks = self.encoder.encode(np.stack([*batch, *[batch[-1]] * padding]))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_batch_size(len(batch) + padding)
                continue
            outputs.append([block[: len(batch)] for block in blocks])
            self._check_finite(outputs[-1], names[start:])
            start += len(batch)
        return [np.concatenate(arrays) for arrays in zip(*outputs, strict=True)]

    def _halve_batch_size(self, size: int) -> None:
        """Halve the batch size after an out-of-memory error in a batch of ``size`` images.

        Raises
        ------
        EncoderError
            ``size`` is 1.

        Warns
        -----
        WhichgenWarning
            The batch size is halved.
        """
        device = self.encoder.device
        if size == 1:
            raise EncoderError(
                f"not enough memory on device {device} to run {self.encoder.name} on a single "
                "image. Free some memory, or use a smaller encoder or another "
                f"{name_option('--device')}."
            )
        self._limit = size // 2
        warnings.warn(
            f"not enough memory on device {device} for batches of {size} images; continuing with "
            f"batches of {self._limit}. To avoid this warning, use "
            f"{name_option(f'--batch-size {self._limit}', f'`batch_size={self._limit}`')}.",
            WhichgenWarning,
            stacklevel=3,
        )

    def _check_finite(self, blocks: Sequence[np.ndarray], names: Sequence[str]) -> None:
        """Raise :class:`EncoderError` if a feature is NaN or infinite."""
        for b, block in enumerate(blocks):
            invalid = ~np.isfinite(block).all(axis=1)
            if invalid.any():
                advice = (
                    "The weights may be damaged. Download them again, or use another encoder."
                    if self.encoder.dtype == "float32"
                    else "Extract the features or fit the model with "
                    f"{name_option('--dtype float32')}."
                )
                raise EncoderError(
                    f"block {b} of {self.encoder.name} returned NaN or infinite features for "
                    f"{names[int(np.argmax(invalid))]}. {advice}"
                )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception from an encoder is an out-of-memory error."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in message for phrase in _OUT_OF_MEMORY)
