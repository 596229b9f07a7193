"""Metrics: names and units outside, plain counters inside."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from src.api.metrics import BUFFERS, SERVER, STORES, ServerMetrics, registry
from src.api.middleware import Traffic


def test_requests_are_shown_as_counters_and_a_histogram() -> None:
    traffic = Traffic()
    traffic.count("GET", 200, 0.004)
    traffic.count("GET", 200, 0.4)
    traffic.hot_hits = 9

    text = generate_latest(registry(ServerMetrics(traffic, lambda: None))).decode()

    assert 'swarmstate_http_requests_total{method="GET",status="200"} 2.0' in text
    assert "swarmstate_http_hot_reads_total 9.0" in text
    assert 'swarmstate_http_request_duration_seconds_bucket{le="0.005"} 1.0' in text
    assert 'swarmstate_http_request_duration_seconds_bucket{le="+Inf"} 2.0' in text
    assert "swarmstate_http_request_duration_seconds_count 2.0" in text


def test_names_are_prometheus_names_and_given_once() -> None:
    names = [named.name for named in (*SERVER, *STORES, *BUFFERS)]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) for name in names)
    assert not [name for name in names if name.endswith("_total")]
