"""Stage 1: videos, skeletons and big models in, a cache of HDF5 shards out."""

__version__ = "0.1.0"
