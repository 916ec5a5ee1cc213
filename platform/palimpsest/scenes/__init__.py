"""Made scenes with known truth."""
