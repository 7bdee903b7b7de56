"""The page of one or several finished runs: curves, confusions, what co-learning gained, settings."""
