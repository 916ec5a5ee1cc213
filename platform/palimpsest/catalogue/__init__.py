"""The SQL tables, the jobs and the blobs: what exists, and who made it from what.

Imports nothing but values and formats. ``Database`` opens SQLite or PostgreSQL, ``upgrade`` brings it to the present
tables, ``FolderBlobs`` keeps files by the hash of their bytes.
"""

from palimpsest.catalogue.blobs import Blob, BlobStore, FolderBlobs, file_sha256
from palimpsest.catalogue.database import Database, open_file
from palimpsest.catalogue.migrate import check, downgrade, upgrade

__all__ = ["Blob", "BlobStore", "Database", "FolderBlobs", "check", "downgrade", "file_sha256", "open_file", "upgrade"]
