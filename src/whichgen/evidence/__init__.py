"""Extract provenance evidence from image metadata, independently of the attribution model.

Content Credentials, XMP, IPTC, EXIF, text fields written by generators and JPEG quantization tables
are read without network access. The absence of metadata proves nothing, and metadata can be forged.
The invisible watermarks of open generators are detected; watermarks of commercial services, such as
SynthID, are not, because their detectors are not public.
"""
