"""Compositions that are run from the checkout, `python -m pipelines.NAME`; not installed."""
