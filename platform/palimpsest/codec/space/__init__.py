"""Levels 1 to 5: integer lifting, trained or CDF 9/7, and how a cube is cut into tiles."""
