"""Names and defaults that more than one package uses."""

from __future__ import annotations

#: The origin of photographs.
REAL = "real"

#: The answer for an image whose generator is none of the known ones.
UNKNOWN = "unknown"

#: The answer for an image that a generator made, whichever it is.
SYNTHETIC = "synthetic"

#: Share of known validation images that the open-set threshold keeps: the true-positive rate.
TPR = 0.95
