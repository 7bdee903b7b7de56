"""Models on their own: imported from published checkpoints, exported, applied to raw files."""
