"""One file a format, and a registry that sniffs."""
