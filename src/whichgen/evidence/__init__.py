"""Extract provenance evidence from image files, independently of the attribution model.

The evidence is in Content Credentials, XMP, IPTC, EXIF, text fields, JPEG quantization tables,
invisible watermarks of open generators, and text that is hidden in the pixels. It is read without
network access. The absence of metadata proves nothing, and metadata can be forged. Watermarks of
commercial services, such as SynthID, are not detected, because their detectors are not public.
"""
