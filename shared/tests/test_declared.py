"""What an asset, or the dbt model that it is made of, tells freshline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from freshline.declared import told
from freshline.errors import MetadataError
from freshline.metadata import check_metadata

NAME = "freshline/complete_from"


def dbt_metadata(**model: Any) -> dict[str, Any]:
    """Return the metadata of an asset that dagster-dbt makes of a model."""
    manifest = SimpleNamespace(manifest={"nodes": {"model.shop.orders": model}})
    return {"dagster_dbt/unique_id": "model.shop.orders", "dagster_dbt/manifest": manifest}


@pytest.mark.parametrize(
    "metadata",
    [
        {NAME: "2026-01-01"},
        {NAME: dg.MetadataValue.text("2026-01-01")},
        dbt_metadata(meta={"freshline": {"complete_from": "2026-01-01"}}),
        dbt_metadata(config={"meta": {"freshline": {"complete_from": "2026-01-01"}}}),
        {**dbt_metadata(meta={"freshline": {"complete_from": "1999-01-01"}}), NAME: "2026-01-01"},
    ],
)
def test_the_asset_tells_it_itself_or_its_dbt_model_does(metadata: dict[str, Any]) -> None:
    assert "2026-01-01" == told(metadata, NAME)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        dbt_metadata(),
        dbt_metadata(meta={"freshline": {"outside": True}}),
        dbt_metadata(meta={"freshline": "2026-01-01"}),
        dbt_metadata(meta=None, config=None),
    ],
)
def test_nothing_is_told(metadata: dict[str, Any]) -> None:
    assert told(metadata, NAME) is None


def test_a_slip_in_a_dbt_model_is_named_when_the_location_loads() -> None:
    metadata = dbt_metadata(meta={"freshline": {"complete_from": "yesterday"}})

    with pytest.raises(MetadataError, match=r"asset orders: .*complete_from.*yesterday"):
        check_metadata(dg.AssetSpec("orders", metadata=metadata))
