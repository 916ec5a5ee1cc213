"""Training, evaluation, benchmarks and batch work."""
