"""What the scene's other pixels say: its factors under a mask, how many and how smooth, and what they leave over."""
