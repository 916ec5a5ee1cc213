"""What the codec's networks and first states are trained with: data, losses, scorecards."""
