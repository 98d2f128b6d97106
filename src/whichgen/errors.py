"""Exceptions and warnings for users.

All exceptions in this module derive from :class:`WhichgenError`. The command line prints the
message and exits with status 1.
"""


class WhichgenError(Exception):
    """Base class of all whichgen exceptions."""


class DataError(WhichgenError):
    """An option, dataset, table, split or results file is invalid, or a package is missing."""


class ImageError(WhichgenError):
    """An image can't be read, or its size is not supported."""


class EncoderError(WhichgenError):
    """An encoder can't be loaded or run, or it returned invalid features."""


class OpenVinoError(EncoderError):
    """OpenVINO is not installed, or can't run a network."""


class StoreError(WhichgenError):
    """The feature store can't be read or written, for example because the disk is full."""


class ModelFileError(WhichgenError):
    """A model folder is missing, damaged, or written by an unsupported version."""


class GalleryError(WhichgenError):
    """A gallery is missing, damaged, unreachable, or built with another model or version."""


class FitError(WhichgenError):
    """A fitting option is invalid, or a classifier head can't be fitted or did not converge."""


class ConvergenceError(FitError):
    """The solver of a classifier head did not converge for a value of its hyperparameter."""


class ClusterError(WhichgenError):
    """A Ray cluster is unreachable or failed."""


class WhichgenWarning(UserWarning):
    """Warning category of whichgen; the command line prints each warning on one line."""


def get_first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or the class name if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
