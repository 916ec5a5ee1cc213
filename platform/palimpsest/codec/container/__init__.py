"""The file: sections and checksums, head, trained models by name, and what refuses damaged ones."""
