"""Integers to bytes: binary arithmetic coder, context mixing, the learners and the network that foresee."""
