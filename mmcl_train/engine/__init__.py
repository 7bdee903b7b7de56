"""The loop around the method: data in, checkpoints, metrics and scores out."""
