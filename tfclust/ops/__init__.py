"""Tensors in, tensors out: the steps that several methods share."""
