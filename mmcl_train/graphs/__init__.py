"""Skeleton layout → adjacency matrices and hierarchies (numpy, pure)."""
