"""Consumers of a SavedModel: serving, retrieval, detection.

They use `tfclust.saved_model` and the house's rooms that know no method:
`options`, `runtime`, `data` and the command line. `tests/export` walks their
imports.
"""
