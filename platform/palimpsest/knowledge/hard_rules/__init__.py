"""Hard rules as array operations: whom they hold for, by how much they are broken, and the way back."""
