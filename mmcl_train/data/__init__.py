"""Samples of a cache as batches on the training device."""
