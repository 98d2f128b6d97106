"""Reserved origin names."""

#: Origin of photographs.
REAL = "real"

#: Answer for an image whose generator is not among the known origins.
UNKNOWN = "unknown"

#: Answer for an image made by a generator that can't be identified.
SYNTHETIC = "synthetic"
