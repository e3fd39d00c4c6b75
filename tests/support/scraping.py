"""Metrics as Prometheus reads them."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from runtime.trust import trust_for


async def scraped(url: str) -> dict[tuple[str, str], float]:
    """Read the metrics of a process by their names and the values of their labels."""
    async with httpx.AsyncClient(trust_env=False, verify=trust_for(url)) as prometheus:
        text = (await prometheus.get(f"{url}/metrics")).text
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
