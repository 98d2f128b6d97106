"""Limits on the size and structure of untrusted image files."""

#: Maximum number of pixels of an image: twice ``Image.MAX_IMAGE_PIXELS``, above which Pillow raises
#: an error.
MAX_PIXELS = 178_956_970

#: Maximum size of an image file in bytes: about MAX_PIXELS uncompressed pixels of 48 bits.
MAX_IMAGE_BYTES = 2**30

#: Maximum ratio of the longer side of an image to the shorter side. An encoder that scales the
#: shorter side to its input size would need gigabytes for an image that is one pixel high.
MAX_RATIO = 200

#: Maximum number of scans of a JPEG file. A progressive JPEG file has about ten. A scan may have
#: only 75 bytes but takes as long to decode as a complete image, so a file of 32 MiB could take
#: hours to decode.
MAX_SCANS = 100
