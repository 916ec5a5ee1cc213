"""Palimpsest: hyperspectral cubes compressed by what they mean, restored by what is known, explained voxel by voxel.

Arrows between the folders go one way, and a test walks the imports to hold it::

    cubes, spectra, measure  <-  formats, knowledge  <-  codec  <-  restoration  <-  provenance, catalogue
    <-  palimpsest_pipelines, palimpsest_api  <-  commands

``scenes`` stands on ``spectra``, ``knowledge`` and ``radiative_transfer``; nothing but pipelines and commands stands on
it. ``restoration`` asks ``radiative_transfer`` too, which stands on nothing. Decoding a
stream needs neither ``knowledge`` nor torch: a file must be readable in twenty years.
"""

__version__ = "0.1.0"
