"""Supported image formats, and the suffixes of image files and archives."""

from dataclasses import dataclass
from importlib.util import find_spec

#: Maps the Pillow name of each supported format to its file suffixes. The other formats of Pillow
#: are rare, or need an external program (EPS). Common formats come first, because Pillow imports
#: all of its plugins before it tries a rare format.
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
    """Image format that an optional package decodes (extra ``formats``).

    Parameters
    ----------
    name
        Name of the format in messages.
    pillow_name
        Name of the format in Pillow after the package has registered it.
    package
        Import name of the package that decodes the format.
    suffixes
        Lowercase suffixes, with their dot, of files in this format.
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
        """Advice for error messages if the package is not installed."""
        return "run `pip install 'whichgen[formats]'`, or convert the file to PNG"


HEIF = OptionalFormat("HEIC (HEIF)", "HEIF", "pillow_heif", (".heic", ".heics", ".heif", ".hif"))
JPEG_XL = OptionalFormat("JPEG XL", "JXL", "pillow_jxl", (".jxl",))
OPTIONAL_FORMATS = (HEIF, JPEG_XL)

#: Lowercase suffixes by which image files are recognized in folders and archives. Those of optional
#: formats are included if their package is installed.
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffixes in (
        *SUFFIXES.values(),
        *(optional.suffixes for optional in OPTIONAL_FORMATS if optional.is_installed),
    )
    for suffix in suffixes
)

#: Suffixes of archives.
TAR, PARQUET = ".tar", ".parquet"
