"""Distributed processing on a Ray cluster (extra ``ray``)."""
