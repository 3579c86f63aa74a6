"""The dashboards, as rows of panels.

Promise: `platform` shows every service side by side, `service` one of them in depth; `python -m infra.grafana` writes
both as JSON that Grafana 10 and later import, and nothing in them is made by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COLUMNS, HEIGHT = 3, 8
_WIDTH = 24 // COLUMNS
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """A graph: each expression with the legend of its lines. Units are Grafana's names."""

    title: str
    unit: str
    lines: dict[str, str]


Dashboard = dict[str, tuple[Panel, ...]]
"""The rows of a dashboard by their titles."""


def _quantile(of: str, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({of}, sum by ({by}, le) (rate({metric}_bucket{where}[$__rate_interval])))"


def _rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


PLATFORM: Dashboard = {
    "Shop": (
        Panel("Orders settled", "ops", {_rate("hedgerow_order_seconds_count", "status"): "{{status}}"}),
        Panel(
            "Time to confirm",
            "s",
            {
                _quantile(of, "hedgerow_order_seconds", "status", '{status="confirmed"}'): name
                for of, name in (("0.5", "half"), ("0.95", "95 %"))
            },
        ),
        Panel("Orders under way", "short", {"max by (status) (hedgerow_orders_open)": "{{status}}"}),
        Panel("Oldest order under way", "s", {"max by (status) (hedgerow_order_age_seconds)": "{{status}}"}),
        Panel("Gateway", "ops", {_rate("hedgerow_gateway_calls_total", "call, outcome"): "{{call}} {{outcome}}"}),
        Panel("Gateway, 95 %", "s", {_quantile("0.95", "hedgerow_gateway_seconds", "call"): "{{call}}"}),
    ),
    "HTTP": (
        Panel("Requests", "reqps", {_rate("hedgerow_http_requests_total", "status"): "{{status}}"}),
        Panel(
            "Errors by route", "reqps", {_rate("hedgerow_http_requests_total", "route", '{status="5xx"}'): "{{route}}"}
        ),
        Panel(
            "Slowest routes, 99 %",
            "s",
            {f"topk(8, {_quantile('0.99', 'hedgerow_http_request_seconds', 'route')})": "{{route}}"},
        ),
        Panel("Refused by limits", "reqps", {_rate("hedgerow_http_limited_total", "limit"): "{{limit}}"}),
    ),
    "Who is there": (
        Panel("Instances", "short", {"max by (peer) (hedgerow_presence_instances)": "{{peer}}"}),
        Panel("Processes that answer", "short", {'sum by (service) (up{job="hedgerow"})': "{{service}}"}),
        Panel(
            "Connections to the broker",
            "short",
            {"min by (service, link) (hedgerow_broker_up)": "{{service}} {{link}}"},
        ),
    ),
    "Messages": (
        Panel("Published", "ops", {_rate("hedgerow_outbox_published_total", "service"): "{{service}}"}),
        Panel("Waiting in outboxes", "short", {"max by (service) (hedgerow_outbox_rows)": "{{service}}"}),
        Panel("Oldest in an outbox", "s", {"max by (service) (hedgerow_outbox_age_seconds)": "{{service}}"}),
        Panel("Retried", "ops", {_rate("hedgerow_retries_total", "queue, tier"): "{{queue}} {{tier}}"}),
        Panel("Given up on", "short", {"sum by (queue) (increase(hedgerow_dead_letters_total[1h]))": "{{queue}}"}),
        Panel("Parked", "short", {"max by (service) (hedgerow_parked_rows)": "{{service}}"}),
    ),
    "Processes": (
        Panel("Processor", "percentunit", {_rate("process_cpu_seconds_total", "service"): "{{service}}"}),
        Panel("Memory", "bytes", {"sum by (service) (process_resident_memory_bytes)": "{{service}}"}),
        Panel("Loop lag, 99 %", "s", {_quantile("0.99", "hedgerow_loop_lag_seconds", "service"): "{{service}}"}),
    ),
}

_OURS = '{service="$service"}'
SERVICE: Dashboard = {
    "Requests": (
        Panel(
            "Answered", "reqps", {_rate("hedgerow_requests_total", "topic, outcome", _OURS): "{{topic}} {{outcome}}"}
        ),
        Panel("Time to answer, half", "s", {_quantile("0.5", "hedgerow_request_seconds", "topic", _OURS): "{{topic}}"}),
        Panel(
            "Time to answer, 99 %", "s", {_quantile("0.99", "hedgerow_request_seconds", "topic", _OURS): "{{topic}}"}
        ),
        Panel("In flight to others", "short", {f"sum by (instance) (hedgerow_lane_in_flight{_OURS})": "{{instance}}"}),
        Panel(
            "Not answered by others", "reqps", {_rate("hedgerow_lane_unanswered_total", "reason", _OURS): "{{reason}}"}
        ),
        Panel(
            "Dropped, asked again",
            "reqps",
            {
                _rate("hedgerow_lane_dropped_total", "reason", _OURS): "{{reason}}",
                _rate("hedgerow_lane_repeated_total", "service", _OURS): "asked again",
            },
        ),
    ),
    "Messages": (
        Panel("Handled", "ops", {_rate("hedgerow_message_seconds_count", "queue", _OURS): "{{queue}}"}),
        Panel(
            "Time to handle, 95 %", "s", {_quantile("0.95", "hedgerow_message_seconds", "queue", _OURS): "{{queue}}"}
        ),
        Panel("In progress", "short", {f"sum by (queue) (hedgerow_in_progress{_OURS})": "{{queue}}"}),
        Panel(
            "Duplicates, parked, delivered again",
            "ops",
            {
                _rate("hedgerow_inbox_duplicates_total", "queue", _OURS): "duplicate {{queue}}",
                _rate("hedgerow_inbox_parked_total", "queue", _OURS): "parked {{queue}}",
                _rate("hedgerow_redeliveries_total", "queue", _OURS): "again {{queue}}",
            },
        ),
        Panel("Retried", "ops", {_rate("hedgerow_retries_total", "queue, tier", _OURS): "{{queue}} {{tier}}"}),
        Panel(
            "Given up on", "short", {f"sum by (queue) (increase(hedgerow_dead_letters_total{_OURS}[1h]))": "{{queue}}"}
        ),
    ),
    "Outbox": (
        Panel(
            "Published, refused",
            "ops",
            {
                _rate("hedgerow_outbox_published_total", "exchange", _OURS): "{{exchange}}",
                _rate("hedgerow_outbox_refused_total", "exchange", _OURS): "{{exchange}} refused",
            },
        ),
        Panel("Waiting", "short", {f"max(hedgerow_outbox_rows{_OURS})": "rows"}),
        Panel("Oldest", "s", {f"max(hedgerow_outbox_age_seconds{_OURS})": "age"}),
    ),
    "Process": (
        Panel(
            "Database connections",
            "short",
            {
                f"sum by (pool) (hedgerow_pool_busy{_OURS})": "{{pool}} busy",
                f"sum by (pool) (hedgerow_pool_size{_OURS})": "{{pool}} in all",
            },
        ),
        Panel(
            "Loop lag, 99 %", "s", {_quantile("0.99", "hedgerow_loop_lag_seconds", "instance", _OURS): "{{instance}}"}
        ),
        Panel("Since a queue was consumed", "s", {f"min by (queue) (hedgerow_unconsumed_seconds{_OURS})": "{{queue}}"}),
        Panel("Processor", "percentunit", {_rate("process_cpu_seconds_total", "instance", _OURS): "{{instance}}"}),
        Panel("Memory", "bytes", {f"sum by (instance) (process_resident_memory_bytes{_OURS})": "{{instance}}"}),
        Panel(
            "Failures of chores and of figures",
            "ops",
            {
                _rate("hedgerow_chore_failures_total", "chore", _OURS): "{{chore}}",
                _rate("hedgerow_gauge_failures_total", "gauge", _OURS): "{{gauge}}",
            },
        ),
    ),
}


def documents() -> dict[str, dict[str, Any]]:
    """Both dashboards as Grafana reads them, by name."""
    service = {
        "name": "service",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": "label_values(hedgerow_process, service)", "refId": "service"},
        "refresh": 2,
    }
    return {"platform": _document("platform", PLATFORM), "service": _document("service", SERVICE, service)}


def expressions() -> list[str]:
    """Every expression of both, with values in the place of Grafana's variables."""
    return [
        line.replace("$__rate_interval", "5m").replace("$service", "orders")
        for dashboard in (PLATFORM, SERVICE)
        for panels in dashboard.values()
        for panel in panels
        for line in panel.lines
    ]


def _document(name: str, dashboard: Dashboard, *variables: dict[str, Any]) -> dict[str, Any]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"hedgerow-{name}",
        "title": f"Hedgerow: {name}",
        "tags": ["hedgerow"],
        "schemaVersion": 38,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "panels": list(_panels(dashboard)),
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    top = 0
    for title, panels in dashboard.items():
        yield {"type": "row", "title": title, "gridPos": {"h": 1, "w": 24, "x": 0, "y": top}, "panels": []}
        for place, panel in enumerate(panels):
            down, right = divmod(place, COLUMNS)
            where = {"h": HEIGHT, "w": _WIDTH, "x": right * _WIDTH, "y": top + 1 + down * HEIGHT}
            yield _graph(panel, where)
        top += 1 + HEIGHT * -(-len(panels) // COLUMNS)


def _graph(panel: Panel, where: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "expr": line, "legendFormat": legend}
        for at, (line, legend) in enumerate(panel.lines.items())
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": where,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
