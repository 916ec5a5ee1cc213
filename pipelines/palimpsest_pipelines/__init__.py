"""Training, evaluation, benchmarks and batch work.

Doors are ``train_*``, ``benchmark_*``, ``demo`` and the modules of ``calibration``; the other folders hold what stands
behind them: ``codec_training``, ``codec_benchmark``, ``restoration_training``, ``restoration_benchmark``;
``ontologies`` is a door of its own.
"""
