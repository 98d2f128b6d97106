"""Galleries: collections of up to millions of images that can be searched by similarity.

A gallery is a folder with the file ``gallery.json``, which describes the gallery. One unit vector
per image is stored either in this folder, as arrays (:mod:`~whichgen.gallery.index`) together with
the table of images ``entries.parquet``, or in a collection of a Qdrant service
(:mod:`~whichgen.gallery.qdrant`). :mod:`whichgen.inference.neighbors` defines the similarity. A
gallery can be used only with the model it was built with.
"""
