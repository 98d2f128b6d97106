"""Divide large image collections, including tar and Parquet files, into shards."""
