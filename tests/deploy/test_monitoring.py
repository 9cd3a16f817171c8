"""What Prometheus is given: its own tools understand it, every alert rises when it should, and is explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.programs import DEPLOY, find, output
from tests.stack.panels import DASHBOARD, panels
from tests.support import ROOT

ALERTS: Final = DEPLOY / "monitoring/alerts.yml"
CASES: Final = Path(__file__).parent / "alerts_test.yml"
PAGE: Final = ROOT / "docs/operations.md"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_prometheus_understands_its_configuration_and_rules() -> None:
    said = output([find("promtool"), "check", "config", DEPLOY / "monitoring/prometheus.yml"])
    assert f"{len(rules())} rules found" in said


def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [target.expression for panel in panels() for target in panel.targets]
    expressions += [each["expr"] for each in json.loads(DASHBOARD.read_text())["annotations"]["list"]]
    recorded = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"{len(expressions)} rules found" in output([find("promtool"), "check", "rules", file])


def test_alerts_rise_when_they_should_and_not_before() -> None:
    output([find("promtool"), "test", "rules", CASES])


def test_every_alert_is_tested_both_ways() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    raised = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert raised == silent == {rule["alert"] for rule in rules()}


def test_every_alert_says_how_bad_it_is_and_what_it_is() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]


def test_operations_tells_what_to_do_about_every_alert() -> None:
    section = PAGE.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = [re.fullmatch(r"\| `(\w+)` \| (\w+) \| (.+) \| (.+) \|", line) for line in section.splitlines()]
    told = {row[1]: row[2] for row in rows if row}
    assert told == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}


def test_panels_fit_beside_each_other() -> None:
    taken = [(x, y) for panel in panels() for x, y in _squares(panel.x, panel.y, panel.width, panel.height)]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_every_panel_says_what_it_shows() -> None:
    shown = [panel for panel in panels() if panel.kind != "row"]
    titles = [panel.title for panel in shown]
    assert len(titles) == len(set(titles))
    assert all(panel.targets and panel.unit for panel in shown)


def _squares(x: int, y: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    return ((column, row) for column in range(x, x + width) for row in range(y, y + height))
