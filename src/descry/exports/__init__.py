"""A run as others' tools take it in: Neuronpedia, circuit-tracer, the datasets library, CSV."""
