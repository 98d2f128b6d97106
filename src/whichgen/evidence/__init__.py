"""Provenance evidence in an image file: metadata, independent of the model.

Reads Content Credentials, XMP, IPTC, EXIF, text fields of generators and JPEG tables from the bytes
of the file, without network access. The absence of metadata proves nothing, and metadata can be
forged. Invisible watermarks are not read: the open library (invisible-watermark) is not maintained,
and detectors of large services (SynthID) are not public.
"""
