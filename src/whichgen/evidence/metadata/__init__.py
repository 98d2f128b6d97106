"""Interpret metadata: EXIF, IPTC, XMP, text fields, labels and JPEG quantization tables."""
