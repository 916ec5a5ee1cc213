"""What was changed, counted in exact integers, in whose name, and held to the rules at the end."""
