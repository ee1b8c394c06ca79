"""What dashboards are made of: expressions and panels. Legends are templates of Grafana's; `$queue` and `$__rate_interval` are
its variables."""

from __future__ import annotations

from typing import Any

Panel = dict[str, Any]
Rows = dict[str, list[Panel]]

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Probes of load balancers would hide how people fare.
PEOPLE = 'route!~"/health/.*"'
CHOSEN = 'queue=~"$queue"'
FAILED = 'outcome=~"retry|dead|lease_lost"'
NO_SHARE = "Nothing is shown while there are none: that is not 0 %."


# -- Expressions


def rate(metric: str, selector: str = "") -> str:
    return f"rate({metric}{_braces(selector)}[$__rate_interval])"


def rate_by(labels: str, metric: str, selector: str = "") -> str:
    return f"sum by ({labels}) ({rate(metric, selector)})"


def increase_by(labels: str, metric: str, selector: str = "") -> str:
    return f"sum by ({labels}) (increase({metric}{_braces(selector)}[$__rate_interval]))"


def quantile(share: float, histogram: str, labels: str, selector: str = "") -> str:
    by = ", ".join(filter(None, ["le", labels]))
    return f"histogram_quantile({share}, sum by ({by}) ({rate(f'{histogram}_bucket', selector)}))"


def depth(state: str) -> str:
    """Every worker tells the figures of whole queues, all of them the same: never to be added up over workers."""
    return f'sum(max by (queue, state) (helpcenter_queue_jobs{{{CHOSEN}, state=~"{state}"}}))'


def _braces(selector: str) -> str:
    return f"{{{selector}}}" if selector else ""


# -- Panels


def stat(
    title: str,
    description: str,
    expression: str,
    unit: str,
    *,
    legend: str = "",
    width: int = 3,
    colors: dict[float | None, str] | None = None,
) -> Panel:
    """The latest figure; `colors` says from which value on it has which."""
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value_and_name" if legend else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    defaults = {"unit": unit, "min": 0, "thresholds": _thresholds(colors or {None: "text"})}
    return _panel("stat", title, description, {legend: expression}, width, 4, defaults, options)


def graph(
    title: str,
    description: str,
    queries: dict[str, str],
    unit: str,
    *,
    width: int = 8,
    draw: str = "line",
    limit: float | None = None,
    maximum: float | None = None,
) -> Panel:
    """Figures over time, by legend. `draw`: line, stack, steps (of what changes at once) or bars (of what happened in each
    step). Above `limit` there is an alert."""
    custom: dict[str, Any] = {
        "drawStyle": "bars" if draw == "bars" else "line",
        "fillOpacity": {"bars": 60, "stack": 20}.get(draw, 0),
        "lineInterpolation": "stepAfter" if draw == "steps" else "linear",
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
    }
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "custom": custom}
    if draw == "stack":
        custom["stacking"] = {"group": "A", "mode": "normal"}
    if maximum is not None:
        defaults["max"] = maximum
    if limit is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
        defaults["thresholds"] = _thresholds({None: "green", limit: "red"})
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, queries, width, 8, defaults, options)


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: dict[str, str],
    width: int,
    height: int,
    defaults: dict[str, Any],
    options: dict[str, Any],
) -> Panel:
    targets = [
        {"refId": chr(ord("A") + n), "datasource": DATA_SOURCE, "expr": expression, "legendFormat": legend}
        for n, (legend, expression) in enumerate(queries.items())
    ]
    if kind == "stat":
        for target in targets:
            target["instant"] = True
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATA_SOURCE,
        "gridPos": {"h": height, "w": width},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _thresholds(colors: dict[float | None, str]) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in colors.items()]}


def leaders() -> Panel:
    return stat(
        "Schedulers that lead",
        "Exactly one of the schedulers should.",
        "sum(helpcenter_scheduler_leader)",
        "short",
        colors={None: "red", 1: "green", 2: "orange"},
    )


def oldest(selector: str = "", *, width: int = 8) -> Panel:
    return graph(
        "Oldest waiting job",
        "How long the oldest job that could start has waited, by queue; 0 when none waits.",
        {"{{queue}}": f"max by (queue) (helpcenter_queue_oldest_seconds{_braces(selector)})"},
        "s",
        width=width,
        limit=900,
    )


def relay_lag(selector: str = "") -> Panel:
    return graph(
        "Not in Redis yet",
        "Age of the oldest job that no relay has sent to Redis, by queue; 0 when there is none.",
        {"{{queue}}": f"max by (queue) (helpcenter_relay_lag_seconds{_braces(selector)})"},
        "s",
        limit=60,
    )
