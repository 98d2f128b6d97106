"""Errors that a user can cause or fix.

The command line prints the message and exits with a non-zero status. From Python, every class
derives from :class:`WhichgenError`.
"""


class WhichgenError(Exception):
    """Base class of all errors whose message is meant for the user."""


class DataError(WhichgenError):
    """A dataset, an annotation file or a split is invalid."""


class ImageError(WhichgenError):
    """An image can't be read."""


class EncoderError(WhichgenError):
    """An encoder can't be loaded, or returned invalid features."""


class StoreError(WhichgenError):
    """The feature store can't be read or written: full disk, no permission, missing files."""


class ModelFileError(WhichgenError):
    """A model folder is missing, damaged, or written by an unsupported version."""


class GalleryError(WhichgenError):
    """A gallery is missing, damaged, unreachable, or built with another model or version."""


class FitError(WhichgenError):
    """A classifier head can't be fitted, or did not converge."""


class ClusterError(WhichgenError):
    """A Ray cluster can't be reached, or failed."""


class WhichgenWarning(UserWarning):
    """Warning meant for the user; the command line prints it on one line."""


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
