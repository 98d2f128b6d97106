"""An encoder's passes: of one shape where bytes matter, smaller where memory lacks, and checked."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import numpy as np

from whichgen.encoders.base import Encoder
from whichgen.errors import EncoderError, WhichgenWarning

#: What torch, CUDA and OpenVINO say where memory lacks; they have no exception in common.
_LACKS = ("allocate memory", "out of memory", "bad_alloc", "failed to allocate")


class Passes:
    """Encodes images, as many in one pass as memory holds; that number only falls.

    Parameters
    ----------
    encoder
        What encodes.
    whole
        Passes of fewer images are filled up to so many. The libraries under an encoder sum in
        another order for another number of images, and not for other images beside one: in passes
        of one size an image's features are the same bytes whatever else is encoded, and when. 0:
        they are not filled up.
    """

    def __init__(self, encoder: Encoder, *, whole: int = 0) -> None:
        self.encoder = encoder
        self._whole = whole
        self._most = whole or sys.maxsize

    def __call__(self, pixels: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Preprocessed images and what they are called → a float32 array (n, d_b) a block.

        Raises
        ------
        EncoderError
            A value is not finite, or memory lacks for a single image.

        Warns
        -----
        WhichgenWarning
            Memory lacked; passes are half as large from here on.
        """
        passes: list[list[np.ndarray]] = []
        done = 0
        while done < len(pixels):
            part = pixels[done : done + self._most]
            try:
                found = self._pass(part)
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
                self._halve(len(part))
            else:
                self._check(found, names[done:])
                passes.append(found)
                done += len(part)
        return [np.concatenate(parts) for parts in zip(*passes, strict=True)]

    def _pass(self, pixels: Sequence[np.ndarray]) -> list[np.ndarray]:
        blank = min(self._whole, self._most) - len(pixels)
        blocks = self.encoder.encode(np.stack([*pixels, *[pixels[-1]] * max(0, blank)]))
        return [block[: len(pixels)] for block in blocks]

    def _halve(self, images: int) -> None:
        tried = max(images, min(self._whole, self._most))
        device = self.encoder.device
        if tried == 1:
            raise EncoderError(
                f"{device} lacks memory for {self.encoder.name} with a single image. Free some "
                "memory, or take another --device or a smaller encoder."
            )
        self._most = tried // 2
        warnings.warn(
            f"{device} lacks memory for {tried} images at once; going on with {self._most}. "
            f"--batch-size {self._most} spares the attempt.",
            WhichgenWarning,
            stacklevel=3,
        )

    def _check(self, blocks: Sequence[np.ndarray], names: Sequence[str]) -> None:
        for b, block in enumerate(blocks):
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                raise EncoderError(
                    f"block {b} of {self.encoder.name} gave NaN or infinite features for "
                    f"{names[int(np.argmax(bad))]}. Try --dtype float32; if that is what you use, "
                    "the weights are damaged."
                )


def lacks_memory(error: BaseException) -> bool:
    """Whether an encoder failed for want of memory, and a smaller batch may pass."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _LACKS)
