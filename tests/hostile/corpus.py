"""Every hostile file."""

from __future__ import annotations

from tests.hostile import (
    corpus_arrays,
    corpus_cache,
    corpus_hdf5,
    corpus_json,
    corpus_mat,
    corpus_models,
    corpus_pickle,
    corpus_sources,
    corpus_text,
    corpus_video,
)

CASES = [
    *corpus_hdf5.CASES,
    *corpus_cache.CASES,
    *corpus_pickle.CASES,
    *corpus_models.CASES,
    *corpus_arrays.CASES,
    *corpus_mat.CASES,
    *corpus_text.CASES,
    *corpus_json.CASES,
    *corpus_video.CASES,
    *corpus_sources.CASES,
]
