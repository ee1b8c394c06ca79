#!/usr/bin/env python3
"""Checks the Grafana dashboards as far as it goes without a Grafana.

They are what dashboards/generate.py writes, and Grafana's own types (grafana-foundation-sdk, for Grafana 10.1) know every key
in them: one that they do not know is lost on the way through them and back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True  # said before our own modules are read: nothing is written beside them

from packages import install, sha256
from run_folder import Failure, RunFolder, say

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
REQUIREMENTS = Path(__file__).resolve().parent / "dashboards-requirements.txt"


def check(run: RunFolder) -> list[str]:
    """What is wrong with the dashboards."""
    if subprocess.run([sys.executable, str(DASHBOARDS / "generate.py"), "--check"]).returncode != 0:
        return ["They are outdated."]
    if sys.version_info < (3, 11):
        line = "!" * 100
        say(f"{line}\n!! The dashboards were NOT read with Grafana's types: that needs Python 3.11 or newer.\n{line}")
        return []
    sys.path.insert(0, str(_types(run)))
    problems = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        written = json.loads(path.read_text(encoding="utf-8"))
        problems += [f"{path.name}: {problem}" for problem in _differences(written, _read_by_grafana(written))]
    return problems


def _types(run: RunFolder) -> Path:
    folder = run.path / "tools" / f"dashboards-{sha256(REQUIREMENTS)[:12]}"
    with run.lock("dashboards.lock"):
        if not folder.exists():
            install(REQUIREMENTS, folder)
    return folder


def _read_by_grafana(dashboard: dict[str, Any]) -> Any:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def _differences(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Where what we wrote did not survive; what they add are defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from _differences(value, theirs[key], f"{at}/{key}")
            else:
                yield f"{at}/{key} is unknown to Grafana"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (value, other) in enumerate(zip(ours, theirs)):
            yield from _differences(value, other, f"{at}/{place}")
    elif ours != theirs:
        yield f"{at} is {ours!r}, which Grafana reads as {theirs!r}"


def main() -> int:
    os.umask(0o022)
    try:
        problems = check(RunFolder.from_environment(os.environ))
    except Failure as failure:
        problems = [str(failure)]
    for problem in problems:
        say(problem)
    if not problems:
        say("The dashboards are up to date, and Grafana's types know every key in them.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
