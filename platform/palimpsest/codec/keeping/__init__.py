"""Labels and feature depths kept: the closed loop, and the corrections that streams carry for it."""
