"""Reserved origin names."""

#: Origin of photographs.
REAL = "real"

#: Answer for an image whose generator is not among the known origins.
UNKNOWN = "unknown"

#: Answer for a synthetic image whose generator can't be identified. As an origin of training
#: images: generators that are not named, the background class of Dhamija et al. (2018). No image
#: is attributed to it, but a model with such images detects images of other generators better.
SYNTHETIC = "synthetic"
