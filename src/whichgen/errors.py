"""Exceptions that whichgen raises, and its warning category.

All exceptions in this module derive from :class:`WhichgenError`. If one of them stops a command,
the command line prints its message and exits with status 1.
"""


class WhichgenError(Exception):
    """Base class of all whichgen exceptions."""


class DataError(WhichgenError):
    """An option or input data is invalid or insufficient, or a resource is not available.

    Input data includes datasets, tables, splits, reports and run folders. Resources include
    packages, ports and writable folders.
    """


class ImageError(WhichgenError):
    """An image can't be read, or its type, format or size is not supported."""


class EncoderError(WhichgenError):
    """An encoder can't be loaded or run, or it returned invalid features.

    It is also raised if the encoders on the machines of a cluster differ.
    """


class OpenVinoError(EncoderError):
    """OpenVINO can't be imported, or can't run a network."""


class StoreError(WhichgenError):
    """A store of features or image facts can't be read or written."""


class ModelFileError(WhichgenError):
    """A model can't be loaded, verified, downloaded or uploaded, or does not match an encoder."""


class GalleryError(WhichgenError):
    """A gallery can't be built, read or reached, or its model or format is not the expected one."""


class FitError(WhichgenError):
    """A model or clustering can't be fitted, or an option or the data for it is invalid."""


class ConvergenceError(FitError):
    """The solver of a classifier head did not converge for one or more hyperparameter values."""


class ClusterError(WhichgenError):
    """A Ray cluster can't be started or reached, or processing on it failed."""


class WhichgenWarning(UserWarning):
    """Warning category of whichgen; the command line prints each warning on one line."""


def get_first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or the class name if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
