"""Galleries: collections of up to millions of images that can be searched by similarity.

A gallery is a folder: ``gallery.json`` describes it, ``entries.parquet`` lists the image of each
row, and the index is plain arrays (:mod:`~whichgen.gallery.index`) or a collection of a Qdrant
service (:mod:`~whichgen.gallery.qdrant`). Images are compared as described in
:mod:`whichgen.inference.neighbors`; a gallery can be used only with the model it was built with.
"""
