"""Keeping what people have already: formats of others into a cache, and a cache back into those formats."""
