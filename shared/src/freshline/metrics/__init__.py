"""Metrics: how the targets and locations stand, for Prometheus.

`families` says it in metric families; their names are an interface, and docs/monitoring.md lists
them. `exporter` looks at the instance when it is asked, `page` writes what it has seen, and
`server` answers over HTTP.
"""

from freshline.metrics.exporter import Exporter
from freshline.metrics.server import MetricsServer

__all__ = ["Exporter", "MetricsServer"]
