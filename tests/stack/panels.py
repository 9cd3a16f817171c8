"""The dashboard's panels, and what Prometheus says to their expressions."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.stack.topology import DEPLOY

DASHBOARD: Final = DEPLOY / "monitoring/grafana/dashboards/mcp-gateway.json"
VARIABLES: Final = {"$upstream": ".*", "$__rate_interval": "10s", "${datasource}": "prometheus"}
"""What Grafana would put in their place."""


@dataclass(frozen=True, slots=True)
class Target:
    expression: str
    """As Prometheus is asked it."""
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    kind: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Series:
    labels: dict[str, str]
    points: list[tuple[float, float]]
    """Seconds since 1970, value."""


def panels(variables: Mapping[str, str] = VARIABLES) -> list[Panel]:
    """Those of the dashboard, rows included; these have no targets."""
    return [_panel(each, variables) for each in json.loads(DASHBOARD.read_text())["panels"]]


def _panel(said: dict[str, Any], variables: Mapping[str, str]) -> Panel:
    place = said["gridPos"]
    targets = [
        Target(_filled(each["expr"], variables), each.get("legendFormat", "")) for each in said.get("targets", ())
    ]
    unit = said.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
    return Panel(said["title"], said["type"], unit, place["x"], place["y"], place["w"], place["h"], tuple(targets))


def _filled(expression: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def without_default(expression: str) -> str:
    """An expression that says nothing where there is nothing, instead of 0."""
    return re.sub(r" or vector\(0\)$", "", expression)


def query(prometheus: str, expression: str, since: float, until: float) -> list[Series]:
    """What an expression was between two times, second by second; points that are no number are left out, and so are
    series of none.

    Raises:
        urllib.error.HTTPError: it is not valid.
    """
    asked = urllib.parse.urlencode({"query": expression, "start": since, "end": until, "step": 1})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=30) as answer:
        results = json.load(answer)["data"]["result"]
    found = [
        Series(each["metric"], [(at, float(value)) for at, value in each["values"] if math.isfinite(float(value))])
        for each in results
    ]
    return [series for series in found if series.points]
