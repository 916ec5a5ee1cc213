"""Generated parts of the packaged ontologies: ``python -m palimpsest_pipelines.ontologies SHARED_LIBRARIES_DIR``."""

from palimpsest_pipelines.ontologies.generate import generate

__all__ = ["generate"]
