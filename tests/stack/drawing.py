"""Draws the dashboard from what Prometheus says, where there is no Grafana. Needs matplotlib."""

import math
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.stack.panels import Panel, Series, panels, query

COLUMNS: Final = 24
ROW_INCHES: Final = 0.36
WIDTH_INCHES: Final = 16.0
MOST_NAMED: Final = 8
"""Lines of a legend."""
COLOURS: Final = ("#3b7dd8", "#e07b39", "#4aa564", "#c2456b", "#8c6bb1", "#b8a32a", "#3aa6a6", "#8a6d5a", "#777777")


def draw(prometheus: str, file: Path, since: float, until: float, window: str) -> None:
    """Write a picture of all panels, between two times.

    Args:
        window: what rates are taken over, e.g. `15s`.
    """
    matplotlib: Any = import_module("matplotlib")  # not among what the project depends on
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    variables = {"$upstream": ".*", "$__rate_interval": window, "${datasource}": "prometheus"}
    shown = panels(variables)
    rows = max(panel.y + panel.height for panel in shown)
    figure: Any = pyplot.figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES), facecolor="#f4f5f7")
    for panel in shown:
        left, top = panel.x / COLUMNS, 1 - panel.y / rows
        if panel.kind == "row":
            figure.text(0.008, top - 0.5 / rows, panel.title, fontsize=12, weight="bold", va="center")
            continue
        found = [
            (_name(target.legend, series), series)
            for target in panel.targets
            for series in query(prometheus, target.expression, since, until)
        ]
        width, height = panel.width / COLUMNS, panel.height / rows
        if panel.kind == "stat":
            _draw_number(figure, panel, found, (left, top - height, width, height))
        else:
            box = (left + 0.04, top - height + 1.1 / rows, width - 0.05, height - 2.1 / rows)
            _draw_lines(figure, panel, found, box)
    figure.savefig(file, dpi=80)
    image: Any = import_module("PIL.Image")  # matplotlib depends on it
    image.open(file).convert("RGB").quantize(48, dither=0).save(file, optimize=True)


def _name(legend: str, series: Series) -> str:
    for label, value in series.labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _draw_number(
    figure: Any, panel: Panel, found: list[tuple[str, Series]], box: tuple[float, float, float, float]
) -> None:
    axes = figure.add_axes((box[0] + 0.004, box[1] + 0.004, box[2] - 0.008, box[3] - 0.008), facecolor="white")
    axes.set(xticks=(), yticks=())
    value = found[-1][1].points[-1][1] if found else math.nan
    axes.text(0.04, 0.86, panel.title, fontsize=9, va="top", transform=axes.transAxes)
    axes.text(0.5, 0.4, _written(value, panel.unit), fontsize=20, ha="center", va="center", transform=axes.transAxes)
    axes.spines[:].set_color("#d5d8dd")


def _draw_lines(
    figure: Any, panel: Panel, found: list[tuple[str, Series]], box: tuple[float, float, float, float]
) -> None:
    dates: Any = import_module("matplotlib.dates")
    axes = figure.add_axes(box, facecolor="white")
    found = sorted(found, key=lambda each: -_highest(each[1]))  # those with something to see are named
    for number, (name, series) in enumerate(found):
        times = [datetime.fromtimestamp(at) for at, _ in series.points]
        label = name if number < MOST_NAMED else None
        axes.plot(
            times, [value for _, value in series.points], color=COLOURS[number % len(COLOURS)], lw=1.1, label=label
        )
    axes.set_title(panel.title, fontsize=9, loc="left", pad=3)
    axes.set_ylim(bottom=0, top=1.1 * max((_highest(series) for _, series in found), default=0) or 1)
    axes.tick_params(labelsize=7, length=2)
    axes.yaxis.set_major_formatter(partial(_on_axis, panel.unit))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.locator_params(axis="y", nbins=5)
    axes.set_xticks(axes.get_xticks()[1:-1:2])
    axes.grid(visible=True, color="#e6e8eb", lw=0.6)
    axes.spines[:].set_color("#d5d8dd")
    if found:
        axes.legend(
            fontsize=6, ncols=4, loc="upper left", bbox_to_anchor=(-0.02, -0.11), frameon=False, columnspacing=1
        )


def _highest(series: Series) -> float:
    return max(value for _, value in series.points)


def _on_axis(unit: str, value: float, _: int) -> str:
    return _written(value, unit)


def _written(value: float, unit: str) -> str:
    """A value in a unit of Grafana's."""
    if math.isnan(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s":
            return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes" | "Bps":
            scale, prefix = next(
                ((s, p) for s, p in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")) if value >= s), (1, "")
            )
            return f"{value / scale:.3g} {prefix}B{'/s' if unit == 'Bps' else ''}"
        case "reqps":
            return f"{value:.3g}/s"
        case _:
            return f"{value:.4g}"
