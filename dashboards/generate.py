#!/usr/bin/env python3
"""Writes overview.json, queues.json and assistant.json, the Grafana dashboards: change source/, run this, commit both.

With --check it writes nothing and fails when a file is not what it would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True  # said before our own modules are read: nothing is written beside them

from source.assistant import assistant
from source.overview import overview
from source.panels import DATA_SOURCE, Panel, Rows
from source.queues import queues

HERE = Path(__file__).resolve().parent


def dashboard(uid: str, title: str, description: str, variables: list[dict[str, Any]], rows: Rows) -> str:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    link = {"title": "Help Center", "type": "dashboards", "tags": ["helpcenter"], "keepTime": True, "icon": "external link"}
    content = {
        "uid": uid,
        "title": title,
        "description": f"{description} Alerts, and what to do about them: docs/OPERATIONS.md.",
        "tags": ["helpcenter"],
        "schemaVersion": 38,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [link],
        "templating": {"list": [source, *variables]},
        "panels": _placed(rows),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _placed(rows: Rows) -> list[Panel]:
    """From left to right and from top to bottom, 24 columns wide; with ids."""
    placed: list[Panel] = []
    top = 0
    for title, panels in rows.items():
        placed.append({"type": "row", "title": title, "collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": top}})
        top += 1
        left = height = 0
        for panel in panels:
            position = panel["gridPos"]
            if left + position["w"] > 24:
                left, top = 0, top + height
            placed.append({**panel, "gridPos": {**position, "x": left, "y": top}})
            left, height = left + position["w"], position["h"]
        top += height
    return [{"id": n, **panel} for n, panel in enumerate(placed, 1)]


def files() -> dict[Path, str]:
    query = "label_values(helpcenter_queue_jobs, queue)"
    queue = {
        "name": "queue",
        "label": "Queue",
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": "queue"},
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "refresh": 2,
        "sort": 1,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    return {
        HERE / "assistant.json": dashboard(
            "helpcenter-assistant",
            "Help Center: assistant",
            "How soon the assistant answers, what becomes of questions, and what language models do and cost.",
            [],
            assistant(),
        ),
        HERE / "overview.json": dashboard(
            "helpcenter-overview",
            "Help Center: overview",
            "Rate, errors and duration of requests by route, what waits behind them, and the processes.",
            [],
            overview(),
        ),
        HERE / "queues.json": dashboard(
            "helpcenter-queues",
            "Help Center: queues and workers",
            "What waits, what runs, how it ends and how long it takes; the relay and the scheduler. Figures of whole queues "
            "are told by every worker alike, so the highest of them counts.",
            [queue],
            queues(),
        ),
    }


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    outdated = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in outdated:
        if sys.argv[1:]:
            print(f"{path} is not what dashboards/generate.py writes: run it.", file=sys.stderr)
        else:
            path.write_text(files()[path], encoding="utf-8")
    return 1 if outdated and sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
