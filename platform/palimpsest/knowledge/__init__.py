"""From a release of the ontologies to rules, graph, identification and importance.

``rules`` are what a release compiles to, ``tensors`` the same as arrays for one sensor. Rooms: ``hard_rules``,
``releases`` (from Turtle to a published number), ``identification`` (names, probabilities, mixtures, importance) and
``alignment`` (foreign vocabularies); ``preview`` asks what a draft would change.
"""
