"""Accepted image formats and file suffixes, and limits on untrusted images."""

from dataclasses import dataclass
from importlib.util import find_spec

#: Formats that are decoded, by their Pillow name, with the suffixes of their files. Other formats
#: of Pillow are rare, or start an external program (EPS). The most common formats come first: for
#: any other, Pillow imports all of its plugins.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp",),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "ICO": (".ico",),
    "JPEG2000": (".jp2", ".j2c", ".j2k", ".jpc", ".jpf", ".jpg2", ".jpx"),
    "PCX": (".pcx",),
    "PPM": (".ppm", ".pbm", ".pfm", ".pgm", ".pnm"),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".bw", ".rgb", ".rgba"),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "TIFF": (".tif", ".tiff"),
}
FORMATS = tuple(SUFFIXES)


@dataclass(frozen=True)
class OptionalFormat:
    """Format that an optional package decodes (extra ``formats``).

    Parameters
    ----------
    name
        Name of the format for people.
    pillow_name
        Name of the format in Pillow after the package has registered it.
    package
        Python package that decodes it.
    suffixes
        Suffixes of its files.
    """

    name: str
    pillow_name: str
    package: str
    suffixes: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.package) is not None

    @property
    def advice(self) -> str:
        """What to do if the package is not installed."""
        return "install it with pip install 'whichgen[formats]', or convert the file to PNG"


HEIF = OptionalFormat("HEIC (HEIF)", "HEIF", "pillow_heif", (".heic", ".heics", ".heif", ".hif"))
JPEG_XL = OptionalFormat("JPEG XL", "JXL", "pillow_jxl", (".jxl",))
OPTIONAL_FORMATS = (HEIF, JPEG_XL)

#: File suffixes that count as images when a folder or an archive is listed. The format itself is
#: detected from the content.
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffixes in (
        *SUFFIXES.values(),
        *(optional.suffixes for optional in OPTIONAL_FORMATS if optional.is_installed),
    )
    for suffix in suffixes
)

#: Suffixes of files that hold many images.
TAR, PARQUET = ".tar", ".parquet"

#: Largest number of pixels of an image, checked before decoding: Pillow's own limit.
MAX_PIXELS = 178_956_970

#: Largest size of an image file in bytes: that of MAX_PIXELS uncompressed pixels of 48 bits.
MAX_IMAGE_BYTES = 2**30

#: Largest ratio of the longer to the shorter side. An encoder that scales the shorter side up to
#: its input size would need gigabytes for a line of pixels.
MAX_RATIO = 200

#: Largest number of scans of a JPEG. A progressive JPEG has about ten; each scan is a pass over the
#: whole image but takes as little as 75 bytes, so a file of 32 MiB could take hours.
MAX_SCANS = 100
