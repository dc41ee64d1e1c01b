"""The page that is scraped: metric families as text, in the format that the reader asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

__all__ = ["Page", "write_page"]


class Page(NamedTuple):
    """A page and its type, as in the header of an answer."""

    content_type: str
    text: bytes


class _Known:
    """Gives a registry families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def write_page(families: Iterable[Metric], accept: str = "") -> Page:
    """Return the families, and what the process itself takes, as a page.

    `accept` is the header by which a reader asks for a format. It is OpenMetrics, or for readers
    that do not know that, Prometheus' older text format.
    """
    registry = CollectorRegistry()
    registry.register(_Known(families))
    ProcessCollector(registry=registry)
    # No name here needs escaping, so this is the same text as with any other kind of it. But it
    # takes half the time: names are not looked through letter by letter.
    escaping = openmetrics.ALLOWUTF8
    if "application/openmetrics-text" in accept:
        text: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]  # it has none
            registry, escaping=escaping
        )
        return Page(openmetrics.CONTENT_TYPE_LATEST, text)
    return Page(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry, escaping=escaping))
