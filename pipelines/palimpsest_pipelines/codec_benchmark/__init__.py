"""Parts of the codec's benchmark, one question a module; ``palimpsest_pipelines.benchmark_codec`` asks them in turn.

``scenes`` and ``ledger`` are what all parts share: what is measured, and what is known already. ``rivals`` and
``ccsds123`` are what others would use. No part imports another part's rows: tables and plots read the ledger's.
"""
