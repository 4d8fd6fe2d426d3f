"""Knobs of the methods, a file each: dataclasses without TensorFlow."""
