"""Which source changed which voxel: packed, hashed, pinned in a log, and explained.

``record.write_provenance`` writes, ``explain.explain`` answers for a pixel, ``manifest.verify`` holds what is stored
against the log, ``describe.describe`` says what a file holds, ``prov_export`` and ``bundle`` take it elsewhere.
"""
