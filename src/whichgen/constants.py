"""Reserved origin names."""

#: Origin of photographs.
REAL = "real"

#: Answer for an image whose generator is not among the known origins.
UNKNOWN = "unknown"

#: Answer for a synthetic image whose generator can't be identified.
SYNTHETIC = "synthetic"
