"""What is brought back, by which source, and how sure it is."""
