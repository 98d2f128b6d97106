"""Galleries: collections of up to millions of images that can be searched by similarity.

A gallery is a folder with the file ``gallery.json``, which describes the gallery. For each image, a
unit vector is computed from the output of a model (:mod:`whichgen.inference.similar_images`). The
vectors are stored either in this folder, as arrays (:mod:`~whichgen.gallery.index`) beside the
table of images ``entries.parquet``, or in a collection of a Qdrant service
(:mod:`~whichgen.gallery.qdrant`). The similarity of two images is the cosine of their vectors. A
gallery can be used only with the model that it was built with.
"""
