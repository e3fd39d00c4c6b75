"""The part of Temporal's SDK that is no Python: where its logs and its metrics go."""

import logging
from typing import Final

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from runtime.metrics import MetricsPlaceTaken

SDK_LOGGER: Final = "temporalio.core"


def make_runtime(metrics_address: str | None) -> Runtime:
    """Make the SDK's part that is no Python: its logs go the way of this process's.

    Parameters
    ----------
    metrics_address
        host:port where it is to serve its metrics to Prometheus; ``None`` to serve none.

    Raises
    ------
    MetricsPlaceTaken
        Nothing can listen there.
    """
    forwarding = LogForwardingConfig(
        logging.getLogger(SDK_LOGGER),
        append_target_to_name=False,
        append_log_fields_to_message=False,
    )
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding
    )
    if metrics_address is None:
        return Runtime(telemetry=TelemetryConfig(logging=logs))
    metrics = PrometheusConfig(
        bind_address=metrics_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))
    except ValueError as error:
        raise MetricsPlaceTaken(f"TEMPORAL_METRICS_ADDRESS: {metrics_address}: {error}") from error
