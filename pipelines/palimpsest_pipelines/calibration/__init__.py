"""How sure a mapping or a name may be, and what leaves are made of: learnt where it is known, judged elsewhere."""
