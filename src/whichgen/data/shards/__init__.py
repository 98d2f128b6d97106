"""Divide large collections, tar files and Parquet files into shards."""
