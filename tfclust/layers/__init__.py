"""Layers of methods: projectors, prototypes, classifiers, memories."""
