"""Galleries: collections of up to millions of images that can be searched by similarity.

A gallery is a folder: ``gallery.json`` describes it, ``entries.parquet`` lists the image of each
row, and the vectors are stored in arrays (:mod:`~whichgen.gallery.index`) or in a collection of a
Qdrant service (:mod:`~whichgen.gallery.qdrant`). :mod:`whichgen.inference.neighbors` defines the
similarity. A gallery can be used only with the model it was built with.
"""
