"""What the integrator learns judgement from: examples with made damage and faults, losses, intervals, spared pixels."""
