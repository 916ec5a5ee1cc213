"""The quick coder of ``--effort 1``: adaptive distributions instead of context mixing."""
