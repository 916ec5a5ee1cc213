"""Component samples to small integers: dependent quantisers, their trellis, and where in a cell a sample stands."""
