"""The trained network that judges: correlation encoder, graph processor, aligner, confidence estimator."""
