"""Extract provenance evidence from image metadata, independently of the attribution model.

Content Credentials, XMP, IPTC, EXIF, text fields written by generators and JPEG quantization tables
are read without network access. The absence of metadata proves nothing, and metadata can be forged.
Of invisible watermarks, those of open generators are found; the detectors of commercial services
(SynthID) are not public.
"""
