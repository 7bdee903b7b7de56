"""Backbones against their publications and against the contract they all keep."""
