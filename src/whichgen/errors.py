"""The errors a user can cause: each carries one message that says what to do.

The command line prints the message and exits with a non-zero status; from Python every one of
them is a :class:`WhichgenError`.
"""


class WhichgenError(Exception):
    """Base of every error whose message is meant for the user."""


class DataError(WhichgenError):
    """A data set, an annotation file or a split is not as it must be."""


class ImageError(WhichgenError):
    """One image can not be read."""


class EncoderError(WhichgenError):
    """An encoder can not be loaded, or gave features that can not be used."""


class StoreError(WhichgenError):
    """The feature store can not be written or read: a full disk, no permission, lost files."""


class ModelFileError(WhichgenError):
    """A model folder is missing, damaged, or of a version that this one does not read."""


class GalleryError(WhichgenError):
    """A gallery is missing, damaged, of another model or version, or its service is silent."""


class FitError(WhichgenError):
    """A head can not be fitted, or did not converge."""


class ClusterError(WhichgenError):
    """A Ray cluster can't be reached, or gave up."""


class WhichgenWarning(UserWarning):
    """What a user should know and need not stop for; the command line prints it as one line."""
