"""The SQL tables and the blobs."""
