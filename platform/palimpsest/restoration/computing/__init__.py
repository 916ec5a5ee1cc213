"""Computing of any part: blocks side by side, one thread for what must be the same everywhere, planes and ranks."""
