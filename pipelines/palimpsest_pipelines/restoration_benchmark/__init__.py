"""The benchmark of restoration: its cases, rivals, judges, scores, parts and pictures."""
