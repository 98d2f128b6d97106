"""Accepted image formats and file suffixes, and limits on untrusted images."""

#: Formats that are decoded, by their Pillow name. Other formats of Pillow are rare, or start an
#: external program (EPS).
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"),
    *("SGI", "TGA", "TIFF", "WEBP"),
)

#: File suffixes that count as images when a folder or an archive is listed. The format itself is
#: detected from the content.
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
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
