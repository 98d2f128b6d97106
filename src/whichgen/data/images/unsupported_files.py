"""Recognize files that are not images in a supported format, and give advice about them."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.data.images.formats import OPTIONAL_FORMATS


@dataclass(frozen=True)
class FileKind:
    """Kind of files that whichgen does not decode.

    Parameters
    ----------
    name
        Name of the kind in messages, with its article if it has one, such as ``a video``.
    advice
        What the user can do with such a file, such as ``export it as PNG``.
    suffixes
        Suffixes of files of this kind.
    starts
        Possible first bytes of files of this kind; empty if they are recognized in another way.
    is_image
        Whether the files are images in an unsupported format.
    is_sidecar
        Whether files of this kind often accompany images, for example as captions.
    """

    name: str
    advice: str
    suffixes: tuple[str, ...] = ()
    starts: tuple[bytes, ...] = ()
    is_image: bool = False
    is_sidecar: bool = False

    @property
    def description(self) -> str:
        """Name, problem and advice: the end of an error message."""
        problem = "not in a supported format" if self.is_image else "not an image"
        return f"{self.name}, {problem}; {self.advice}"

    @property
    def short_description(self) -> str:
        """Name without its article, followed by the advice if the file is not a sidecar."""
        name = self.name.removeprefix("a ").removeprefix("an ")
        return name if self.is_sidecar else f"{name}; {self.advice}"


_EXPORT = "export it as PNG"
_CONVERT = "convert it to PNG"

CAMERA_RAW = FileKind(
    "a camera raw file",
    "develop it and export it as PNG or TIFF",
    (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf"),
        *(".rw2", ".rwl", ".pef", ".srw", ".x3f", ".3fr", ".erf", ".kdc", ".dcr", ".mrw", ".iiq"),
        *(".mos", ".mef", ".raw"),
    ),
    (
        *(b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),
        *(b"II\x1a\0\0\0HEAPCCDR", b"II*\0\x10\0\0\0CR"),
    ),
    is_image=True,
)
_LFS = FileKind(
    "a Git LFS pointer",
    "run `git lfs pull` to download the image",
    starts=(b"version https://git-lfs.github.com/spec/",),
)
_HTML = FileKind("an HTML page", "download the image itself", (".html", ".htm", ".mhtml"))
_SVG = FileKind("an SVG drawing", _EXPORT, (".svg", ".svgz"), is_image=True)
_XML = FileKind("an XML file", "download the image itself", (".xml",), is_sidecar=True)
_JSON = FileKind(
    "a JSON file",
    "download the image itself",
    (".json", ".jsonl", ".ndjson"),
    is_sidecar=True,
)
_VIDEO = FileKind(
    "a video",
    "extract a frame as PNG",
    (
        *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"),
        *(".ts", ".mts", ".m2ts", ".3gp"),
    ),
    (
        b"\x1a\x45\xdf\xa3",
        b"FLV\x01",
        b"\0\0\x01\xba",
        b"\0\0\x01\xb3",
        b"OggS",
        b"\x30\x26\xb2\x75",
    ),
)
_TEXT = FileKind(
    "a text file",
    "replace it with the image",
    (".txt", ".caption", ".csv", ".tsv", ".md", ".yaml", ".yml", ".toml", ".log", ".py"),
    is_sidecar=True,
)
_ZEROS = FileKind("a file that begins with zeros", "replace it")

#: Description of a file of unknown kind, which can also be a damaged file in a supported format.
_OTHER = "damaged, or not in a supported format; replace it or convert it to PNG"

#: Kinds that are recognized by the suffix or the first bytes of a file.
_KINDS = (
    _LFS,
    CAMERA_RAW,
    _HTML,
    _SVG,
    _XML,
    _JSON,
    _VIDEO,
    _TEXT,
    FileKind("a PDF document", "export its pages as PNG", (".pdf",), (b"%PDF",)),
    FileKind(
        "a PostScript file",
        _EXPORT,
        (".eps", ".ps", ".ai"),
        (b"%!PS", b"\xc5\xd0\xd3\xc6"),
        is_image=True,
    ),
    FileKind(
        "a Photoshop document",
        _EXPORT,
        (".psd", ".psb"),
        (b"8BPS",),
        is_image=True,
    ),
    FileKind(
        "a GIMP document",
        _EXPORT,
        (".xcf",),
        (b"gimp xcf",),
        is_image=True,
    ),
    FileKind(
        "a document of a drawing program",
        _EXPORT,
        (".kra", ".ora", ".clip", ".afphoto", ".afdesign", ".procreate", ".sketch", ".xd", ".fig"),
        (b"CSFCHUNK",),
        is_image=True,
    ),
    FileKind("a ZIP archive", "extract it first", (".zip",), (b"PK\x03\x04", b"PK\x05\x06")),
    FileKind(
        "an archive",
        "extract it first",
        (".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", ".lmdb"),
        (b"Rar!", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"),
    ),
    FileKind("a gzip archive", "extract it first", starts=(b"\x1f\x8b",)),
    FileKind(
        "a Parquet file",
        "use `whichgen extract` or `whichgen attribute-bulk`",
        (".parquet",),
        (b"PAR1",),
    ),
    FileKind(
        "an OpenEXR image",
        _CONVERT,
        (".exr",),
        (b"\x76\x2f\x31\x01",),
        is_image=True,
    ),
    FileKind(
        "a Radiance HDR image",
        _CONVERT,
        (".hdr",),
        (b"#?RADIANCE", b"#?RGBE"),
        is_image=True,
    ),
    FileKind(
        "a JPEG XR image",
        _CONVERT,
        (".jxr", ".wdp", ".hdp"),
        (b"II\xbc\x01",),
        is_image=True,
    ),
    FileKind(
        "scientific data",
        _EXPORT,
        (".fits", ".fit", ".dcm", ".nii", ".h5", ".hdf5", ".npy", ".npz", ".mat", ".czi", ".svs"),
        (b"SIMPLE  =", b"\x89HDF", b"\x93NUMPY"),
    ),
    FileKind(
        "an image",
        _CONVERT,
        (
            *(".icns", ".cur", ".xbm", ".xpm", ".wbmp", ".pcd", ".djvu", ".bpg", ".flif", ".jls"),
            *(".mng", ".jng", ".emf", ".wmf", ".ktx", ".ktx2", ".basis", ".jxs", ".ras", ".pict"),
        ),
        (
            b"icns",
            b"\0\0\x02\0",
            b"AT&TFORM",
            b"BPG\xfb",
            b"FLIF",
            b"\x8aMNG",
            b"\x8bJNG",
            b"\xd7\xcd\xc6\x9a",
        ),
        is_image=True,
    ),
    FileKind(
        "an unfinished download",
        "download it again",
        (".part", ".crdownload", ".download", ".partial", ".tmp", ".aria2"),
    ),
    FileKind("a macOS metadata file", "delete it", starts=(b"\0\x05\x16\x07",)),
)

#: Number of bytes at the start of a file that are examined to recognize zeros, text and markup.
_HEAD_BYTES = 1024

#: Tags that occur near the start of an HTML page, in lower case.
_HTML_TAGS = (b"<!doctype html", b"<html", b"<head", b"<body")


def describe_unsupported(data: bytes) -> str:
    """Return the end of an error message: the kind of the file, if it is recognized, and advice.

    Parameters
    ----------
    data
        Content of a file that is not an image in a supported format.
    """
    kind = _find_kind(data)
    return kind.description if kind else _OTHER


def describe_suffix(suffix: str) -> str:
    """Describe the kind of files with a suffix: ``Photoshop document; export it as PNG``.

    Parameters
    ----------
    suffix
        Lowercase suffix with its dot, such as ``.psd``.

    Returns
    -------
    str
        Name of the kind, followed by advice unless such files often accompany images (``text
        file``). The string is empty for an unknown suffix and for the suffix of a format that is
        supported without the extra ``formats``.
    """
    for optional in OPTIONAL_FORMATS:
        if suffix in optional.suffixes:
            return f"{optional.name}; {optional.advice}"
    return next((kind.short_description for kind in _KINDS if suffix in kind.suffixes), "")


def is_unsupported_image(suffix: str) -> bool:
    """Return whether a lowercase suffix belongs to an optional or unsupported image format."""
    return any(suffix in optional.suffixes for optional in OPTIONAL_FORMATS) or any(
        kind.is_image and suffix in kind.suffixes for kind in _KINDS
    )


def _find_kind(data: bytes) -> FileKind | None:
    """Return the kind of a file that can't be decoded, or ``None`` if it is not recognized."""
    head = data[:_HEAD_BYTES]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data and not any(head):
        return _ZEROS
    if text.startswith(b"<"):
        if any(tag in text for tag in _HTML_TAGS):
            return _HTML
        return _SVG if b"<svg" in text else _XML
    if data[4:8] == b"ftyp":
        if data[8:12] == b"crx ":
            return CAMERA_RAW
        return None if data[8:12] in (b"avif", b"avis") else _VIDEO
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return _VIDEO
    for kind in _KINDS:
        if kind.starts and data.startswith(kind.starts):
            return kind
    if text.startswith((b"{", b"[")) and _is_text(head):
        return _JSON
    return _TEXT if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are printable text.

    The text is in UTF-8, or in UTF-16 with a byte-order mark.
    """
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    # Ignore the last character, which may be truncated.
    text = head.decode(encoding, errors="replace").rstrip("\ufffd")
    return (
        bool(text)
        and all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text)
        and ("\ufffd" not in text)
    )
