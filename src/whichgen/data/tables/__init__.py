"""Tables and lists of image paths: annotations, groups and sources."""
