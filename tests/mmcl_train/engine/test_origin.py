"""A run that is refused because its cache changed says which settings changed, with both values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmcl_cache.store import LAYOUTS, UserError, create_cache
from mmcl_train.engine.origin import check_origin, describe_cache, keep_origin
from tests.mmcl_train.data import small_cache

FIELDS = {"skeleton": "default", "text": "default"}


def test_another_cache_is_refused_by_the_settings_that_differ(tmp_path: Path) -> None:
    there = describe_cache(small_cache.make_cache(tmp_path / "a"), FIELDS)
    run = tmp_path / "run"
    run.mkdir()
    check_origin(run, there)
    keep_origin(run, there)
    check_origin(run, there)
    assert describe_cache(small_cache.make_cache(tmp_path / "b"), FIELDS) == there
    now = {**there, "plan": {**there["plan"], "num_bodies": 1}}
    now["text/default"] = {**there["text/default"], "settings": {"of": "another", "quality": 95}}
    with pytest.raises(UserError) as refused:
        check_origin(run, now)
    told = str(refused.value)
    assert "plan.num_bodies is 2 when the run was started, 1 now" in told
    assert 'text/default.settings.of is "a test" when the run was started, "another" now' in told
    assert "text/default.settings.quality is not set when the run was started, 95 now" in told
    assert "\n" not in told and str(run) in told


def test_other_samples_are_named_by_their_number(tmp_path: Path) -> None:
    cache = small_cache.make_cache(tmp_path / "a")
    keep_origin(tmp_path, describe_cache(cache, {"skeleton": "default"}))
    table = cache.samples
    fewer = replace(
        table,
        sample_ids=table.sample_ids[:5],
        labels=table.labels[:5],
        subjects=table.subjects[:5],
        cameras=table.cameras[:5],
        setups=table.setups[:5],
        splits={name: codes[:5] for name, codes in table.splits.items()},
    )
    other = create_cache(tmp_path / "b", replace(cache.description, layout=LAYOUTS["ntu25-hands"]), fewer, 4)
    with pytest.raises(UserError, match=r"plan\.samples is 12 when the run was started, 5 now"):
        check_origin(tmp_path, describe_cache(other, {}))
