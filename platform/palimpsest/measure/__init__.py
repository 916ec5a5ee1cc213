"""How good, how alike, how sure: every figure that the project quotes."""
