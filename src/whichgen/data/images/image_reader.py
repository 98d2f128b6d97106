"""Read image files and collect facts about them; decode files with the same content once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.data.images.decoding import (
    DecodedFile,
    decode_file,
    hash_image,
    make_thumbnail,
    read_bytes,
)
from whichgen.data.images.fact_store import FactStore
from whichgen.data.images.image_facts import ImageFacts, collect_facts
from whichgen.data.images.reliability_traits import TrainingSizes
from whichgen.errors import ImageError
from whichgen.io.prefetch import prefetch
from whichgen.progress import Progress, no_progress

#: Maximum number of training images whose size is measured.
_MAX_SAMPLES = 1000

#: Number of images whose facts are read from the store at a time.
_CHUNK = 1000

#: Percentiles of the shorter and of the longer sides in
#: :class:`~whichgen.data.images.reliability_traits.TrainingSizes`.
_PERCENTILES = (1, 99)


class ImageReader:
    """Reader of image files that collects and stores facts about them.

    The facts are keyed by the digest of the file. :meth:`read` reads a file again only if the size
    or the modification time of the file has changed, or if facts about the file are missing.

    Parameters
    ----------
    cache
        Cache folder, in which the facts are stored; ``None`` to keep them in memory.

    Raises
    ------
    StoreError
        The stored facts can't be read, or the cache folder can't be created.

    Warns
    -----
    WhichgenWarning
        The stored facts are damaged, and are collected again
        (:class:`~whichgen.data.images.fact_store.FactStore`).
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.store = FactStore(cache / "features" if cache else None)
        #: State (:func:`_get_state`) and digest of each file, joined to save memory.
        self._digests: dict[Path, bytes] = {}

    def read(
        self,
        samples: Sequence[Sample],
        *,
        with_history: bool = False,
        progress: Progress = no_progress,
    ) -> Iterator[ImageFacts | ImageError]:
        """Yield the facts about each file, or the error if it is unreadable, in input order.

        All files are read before the first facts are yielded.

        Parameters
        ----------
        samples
            The image files.
        with_history
            Whether to examine the JPEG compression of the images
            (:attr:`~whichgen.data.images.image_facts.ImageFacts.history`).
        progress
            Progress bar (:data:`whichgen.progress.Progress`).

        Raises
        ------
        StoreError
            The facts can't be read from the cache or written to it, for example because the disk is
            full.
        """
        try:
            digests = self._examine(samples, with_history, progress)
        finally:
            self.store.flush()
        for start in range(0, len(digests), _CHUNK):
            chunk = digests[start : start + _CHUNK]
            facts = self.store.read_facts([d for d in chunk if isinstance(d, bytes)])
            yield from (d if isinstance(d, ImageError) else facts[d] for d in chunk)

    def read_thumbnails(self, samples: Sequence[Sample]) -> list[bytes]:
        """Return the JPEG thumbnail of each image, in input order.

        A thumbnail has at most 96 pixels per side. It is empty if the image is unreadable.

        Raises
        ------
        StoreError
            See :meth:`read`.
        """
        digests = [f.digest if isinstance(f, ImageFacts) else b"" for f in self.read(samples)]
        thumbnails = self.store.read_thumbnails(digests)
        return [thumbnails.get(digest, b"") for digest in digests]

    def find_digest(self, path: Path) -> bytes | None:
        """Return the digest of a file, or ``None`` if the digest is not known.

        The digest is known if this reader has read the file, and the file still exists with the
        same size and modification time.
        """
        entry = self._digests.get(path)
        state = _get_state(path) if entry else b""
        return entry[len(state) :] if entry and state and entry.startswith(state) else None

    def read_file(self, path: Path) -> tuple[bytes, bytes]:
        """Return the content and the digest of a file, and remember the digest.

        Raises
        ------
        ImageError
            See :func:`~whichgen.data.images.decoding.read_bytes`.
        """
        state = _get_state(path)
        data = read_bytes(path)
        digest = hash_image(data)
        if state:
            self._digests[path] = state + digest
        return data, digest

    def add(self, file: DecodedFile, digest: bytes, *, with_history: bool = False) -> None:
        """Store the facts and the thumbnail of a decoded file if the facts are missing.

        This method can be called from any thread.

        See :func:`~whichgen.data.images.image_facts.collect_facts` for the parameters.

        Raises
        ------
        StoreError
            The facts can't be written to the cache, for example because the disk is full.
        """
        if not self.store.has_facts(digest, with_history=with_history):
            facts = collect_facts(file, digest, with_history=with_history)
            self.store.add(facts, make_thumbnail(file.pixels))

    def _examine(
        self, samples: Sequence[Sample], with_history: bool, progress: Progress
    ) -> list[bytes | ImageError]:
        """Collect missing facts about files; return the digest or the error of each file."""
        examine = partial(self._examine_file, with_history=with_history)
        digests: Iterator[bytes | ImageError] = prefetch(
            examine, (sample.path for sample in samples), threads=4, depth=64
        )
        return list(progress(digests, description="Reading images", total=len(samples)))

    def _examine_file(self, path: Path, with_history: bool) -> bytes | ImageError:
        digest = self.find_digest(path)
        try:
            if digest is None or not self.store.has_facts(digest, with_history=with_history):
                data, digest = self.read_file(path)
                if not self.store.has_facts(digest, with_history=with_history):
                    self.add(decode_file(data, str(path)), digest, with_history=with_history)
        except ImageError as error:
            return error
        return digest


def measure_sizes(samples: Sequence[Sample], reader: ImageReader) -> TrainingSizes | None:
    """Measure the sizes of training images; return ``None`` if no image can be read.

    At most 1000 images, evenly spaced in ``samples``, are measured.

    Parameters
    ----------
    samples
        The training images.
    reader
        Reader of the images.

    Raises
    ------
    StoreError
        See :meth:`ImageReader.read`.
    """
    step = -(-len(samples) // _MAX_SAMPLES) or 1
    images = [f.traits for f in reader.read(samples[::step]) if isinstance(f, ImageFacts)]
    if not images:
        return None
    short, long = np.array([sorted((image.width, image.height)) for image in images]).T
    low, high = _PERCENTILES
    return TrainingSizes(int(np.percentile(short, low)), int(np.percentile(long, high)))


def _get_state(path: Path) -> bytes:
    """Return the size and modification time of a file as bytes; empty if they can't be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 (Path.stat is slower)
    except (OSError, ValueError):
        return b""
    return f"{status.st_size} {status.st_mtime_ns} ".encode()
