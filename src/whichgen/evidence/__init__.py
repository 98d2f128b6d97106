"""Provenance evidence: what an image's file says of its origin, beside what the model sees in it.

Content Credentials, XMP, IPTC, EXIF, what generators write into text fields, and JPEG's tables. All
of it is read from the file's bytes; nothing is written and no network is used. The absence of
metadata proves nothing, and metadata can be forged.

Invisible watermarks are left out: open libraries that read them (invisible-watermark) are not well
kept, and detectors of the large services (SynthID) are not open.
"""
