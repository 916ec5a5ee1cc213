"""From a release of the ontologies to rules, graph, identification and importance."""
