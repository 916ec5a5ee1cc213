"""Other cubes of one place: their light, and one table of all of them."""
