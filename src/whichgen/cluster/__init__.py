"""Work spread over a Ray cluster (extra ``ray``)."""
