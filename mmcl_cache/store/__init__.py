"""The door between the two stages: a cache on disk, readable with numpy and h5py alone."""

from mmcl_cache.errors import (
    CacheError,
    DamagedCacheError,
    MissingFieldError,
    StaleCacheError,
    UserError,
)
from mmcl_cache.store.cache import FIELDS, Cache, cache_fingerprint, create_cache, open_cache
from mmcl_cache.store.check import FieldStatus, field_status, invalid_rows, repair, verify
from mmcl_cache.store.columns import Columns, Ragged, pack_column
from mmcl_cache.store.field import Field
from mmcl_cache.store.fingerprint import (
    NOT_SET,
    canonical_json,
    differences,
    differing_settings,
    fingerprint,
    join_some,
    shorten,
)
from mmcl_cache.store.layout import LAYOUTS, Layout
from mmcl_cache.store.schema import (
    STATUSES,
    Column,
    Description,
    Row,
    SampleTable,
    check_sample_ids,
    ids_digest,
)

__all__ = [
    "FIELDS",
    "LAYOUTS",
    "NOT_SET",
    "STATUSES",
    "Cache",
    "CacheError",
    "Column",
    "Columns",
    "DamagedCacheError",
    "Description",
    "Field",
    "FieldStatus",
    "Layout",
    "MissingFieldError",
    "Ragged",
    "Row",
    "SampleTable",
    "StaleCacheError",
    "UserError",
    "cache_fingerprint",
    "canonical_json",
    "check_sample_ids",
    "create_cache",
    "differences",
    "differing_settings",
    "field_status",
    "fingerprint",
    "ids_digest",
    "invalid_rows",
    "join_some",
    "open_cache",
    "pack_column",
    "repair",
    "shorten",
    "verify",
]
