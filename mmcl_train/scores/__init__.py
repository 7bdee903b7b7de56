"""Scores of finished runs: metrics, files, ensembles and comparisons. Imports without torch."""
