"""The method: what the skeleton model learns from beside its labels. None of it is left at test time."""
