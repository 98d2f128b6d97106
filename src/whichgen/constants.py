"""Names of answers that are not generators."""

#: Origin of photographs.
REAL = "real"

#: Answer for an image that does not resemble the known origins.
UNKNOWN = "unknown"

#: Answer for a synthetic image that can't be attributed to a generator or a generator family.
SYNTHETIC = "synthetic"
