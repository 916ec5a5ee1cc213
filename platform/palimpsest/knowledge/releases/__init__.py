"""A release of the ontologies: its files, what they say and imply, whether they are fit, and where it is kept."""
