"""Stored values as integers, and the exact layer on top of what the lossy levels leave."""
