"""Pictures of results, drawn by matplotlib: each function gives a Figure, `write` keeps it.

matplotlib is optional and imported at first use; no global state of it is touched.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLOURS = ("#0b6e99", "#c2571a", "#4d7c2a", "#8a3f8f", "#a8862b", "#5b6470", "#b3364f", "#2f8f83")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
WIDTH, HEIGHT = 6.4, 4.0  # inches
PLACES = tuple(  # of a label, points right of and above its own: near ones first
    (side * right, up)
    for reach in (4, 14, 24, 34, 46, 58)
    for up in (reach, -reach - 3)
    for side, right in ((1, 6), (-1, 6))
)
ENDINGS = ("png", "svg")


@dataclass(frozen=True, slots=True)
class Point:
    """One system's cost and worth.

    Attributes:
        system: its name, which decides colour and marker.
        cost: where it stands on the horizontal axis, above 0.
        worth: where it stands on the vertical axis.
        note: printed beside it.
    """

    system: str
    cost: float
    worth: float
    note: str = ""


def trade_off(points: Sequence[Point], cost: str, worth: str, title: str) -> Any:  # noqa: ANN401
    """Worth against cost on a logarithmic axis, the points that nothing beats joined by a line.

    Args:
        points: of all systems.
        cost: label of the horizontal axis, with its unit; lower is better.
        worth: label of the vertical axis; higher is better.
        title: above the picture.
    """
    figure, axes = _plane(points, cost, worth, title)
    _line(axes, frontier(points), "#888888")
    for number, own in enumerate(_by_system(points)):
        _markers(axes, own, number)
    texts = [f"{point.system} {point.note}".rstrip() for point in points]
    _label(figure, axes, points, texts)
    return figure


def curves(points: Sequence[Point], cost: str, worth: str, title: str) -> Any:  # noqa: ANN401
    """Worth against cost as in `trade_off`, but the points of each system joined by a line."""
    figure, axes = _plane(points, cost, worth, title)
    for number, own in enumerate(_by_system(points)):
        _line(axes, own, COLOURS[number % len(COLOURS)])
        _markers(axes, own, number)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    _label(figure, axes, points, [point.note for point in points])
    return figure


def _plane(points: Sequence[Point], cost: str, worth: str, title: str) -> tuple[Any, Any]:
    """A figure and its axes, labelled and wide enough for the points."""
    figure, axes = _figure(title)
    _log_axis(axes, [point.cost for point in points])
    axes.set_xlabel(cost)
    axes.set_ylabel(worth)
    axes.set_ylim(_span([point.worth for point in points]))
    return figure, axes


def _by_system(points: Sequence[Point]) -> list[list[Point]]:
    systems = dict.fromkeys(point.system for point in points)
    return [[point for point in points if point.system == system] for system in systems]


def _markers(axes: Any, points: Sequence[Point], number: int) -> None:  # noqa: ANN401
    """The points of the system of this number."""
    axes.scatter(
        [point.cost for point in points],
        [point.worth for point in points],
        color=COLOURS[number % len(COLOURS)],
        marker=MARKERS[number % len(MARKERS)],
        s=46,
        label=points[0].system,
        zorder=2,
    )


def _label(figure: Any, axes: Any, points: Sequence[Point], texts: Sequence[str]) -> None:  # noqa: ANN401
    """A text beside each point: at the nearest of `PLACES` where it covers no point and no text."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # the layout gives points their places
    at = axes.transData.transform([(point.cost, point.worth) for point in points])
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    for point, text in zip(points, texts, strict=True):
        if text:
            taken.append(_place(axes, point, text, taken))


def _place(axes: Any, point: Point, text: str, taken: Sequence[Any]) -> Any:  # noqa: ANN401
    """Write a text beside a point; the box that it fills."""
    from matplotlib.text import Text

    label = axes.annotate(
        text, (point.cost, point.worth), (0, 0), textcoords="offset points", size=7,
        arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.5, "shrinkB": 4},
    )  # fmt: skip
    label.set_in_layout(False)
    label.arrow_patch.set_zorder(0.5)  # under the markers

    def put(right: float, up: float) -> Any:  # noqa: ANN401
        label.set_position((right, up))
        label.set_horizontalalignment("left" if right > 0 else "right")
        label.get_window_extent()  # moves the text to where its position is now
        return Text.get_window_extent(label)

    def faults(place: tuple[float, float]) -> int:
        box = put(*place)
        is_inside = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
        return sum(bool(box.overlaps(other)) for other in taken) + (not is_inside)

    return put(*min(PLACES, key=faults))  # the first of the best


def _line(axes: Any, points: Sequence[Point], colour: str) -> None:  # noqa: ANN401
    """A thin line through points, beneath their markers."""
    costs, worths = [point.cost for point in points], [point.worth for point in points]
    axes.plot(costs, worths, color=colour, linewidth=1, zorder=1)


def _log_axis(axes: Any, costs: Sequence[float]) -> None:  # noqa: ANN401
    """A logarithmic axis with plain numbers at 1, 2 and 5, wide enough to hold some."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2, max(costs) * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _span(worths: Sequence[float]) -> tuple[float, float]:
    """Limits around the values, at least 0.05 apart so that a hair's breadth looks like one."""
    middle = (min(worths) + max(worths)) / 2
    half = max((max(worths) - min(worths)) * 0.65, 0.025)
    return middle - half, middle + half


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both cost and worth, by rising cost."""
    best, front = -np.inf, []
    for point in sorted(points, key=lambda p: (p.cost, -p.worth)):
        if point.worth > best:
            best = point.worth
            front.append(point)
    return front


def wins_and_losses(
    system: Sequence[float], baseline: Sequence[float], names: tuple[str, str], measure: str
) -> Any:  # noqa: ANN401
    """One bar a query, by falling difference of system minus baseline.

    Args:
        system: values of the queries.
        baseline: values of the same queries.
        names: of system and baseline.
        measure: what the values are.
    """
    difference = np.sort(np.asarray(system) - np.asarray(baseline))[::-1]
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    figure, axes = _figure(f"{names[0]} minus {names[1]}, {measure}")
    colours = np.where(difference >= 0, COLOURS[0], COLOURS[1])
    axes.bar(np.arange(difference.size), difference, width=1.0, color=colours)
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.set_xlabel(
        f"queries: {wins} better, {difference.size - wins - losses} equal, {losses} worse"
    )
    axes.set_ylabel(f"difference in {measure}")
    return figure


def histograms(counts: Mapping[str, Mapping[str, Sequence[float]]], label: str) -> Any:  # noqa: ANN401
    """Distributions of several systems side by side, over common bins, as shares.

    Args:
        counts: system -> name -> one number for each item.
        label: of the horizontal axes, with its unit.
    """
    from matplotlib.figure import Figure

    columns = min(len(counts), 2)
    rows = -(-len(counts) // columns)
    size = (WIDTH * columns * 0.75, HEIGHT * rows * 0.75)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    every = [np.asarray(of, np.float64) for names in counts.values() for of in names.values()]
    top = max(float(np.quantile(np.concatenate([*every, [0.0]]), 0.995)), 1.0)
    bins = np.linspace(0, top, min(int(top), 40) + 1)
    for axes, (system, names) in zip(panels, counts.items(), strict=False):
        _dress(axes, system)
        _histogram(axes, names, bins)
        axes.set_xlabel(label)
        axes.set_ylabel("share, %")
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in panels[len(counts) :]:
        axes.set_visible(False)
    return figure


def _histogram(axes: Any, names: Mapping[str, Sequence[float]], bins: Any) -> None:  # noqa: ANN401
    """The distributions of one system, what is beyond the last bin in it."""
    for number, (name, of) in enumerate(names.items()):
        values = np.asarray(of, np.float64)
        if not values.size:
            continue
        axes.hist(
            np.minimum(values, bins[-1]),
            bins=bins,
            weights=np.full(values.size, 100 / values.size),
            histtype="stepfilled",
            alpha=0.45,
            color=COLOURS[number % len(COLOURS)],
            label=f"{name} (mean {values.mean():.1f})",
        )
        axes.legend(fontsize=8, frameon=False)


def write(figure: Any, path: Path) -> list[Path]:  # noqa: ANN401
    """Write ``path.png`` and ``path.svg``; the bytes depend on the picture alone."""
    written = []
    for ending in ENDINGS:
        target = path.with_name(f"{path.name}.{ending}")
        target.write_bytes(_rendered(figure, ending))
        written.append(target)
    return written


def save(figure: Any, file: Path) -> None:  # noqa: ANN401
    """Write one file, a picture of the kind that its name ends in.

    Raises:
        InputError: it ends in neither ``.png`` nor ``.svg``.
    """
    ending = file.suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        raise InputError(f"{file}: expected a file ending in .png or .svg; choose such a name")
    file.write_bytes(_rendered(figure, ending))


def svg(figure: Any) -> str:  # noqa: ANN401
    """The picture as an ``<svg>`` element, to stand inside of a page."""
    text = _rendered(figure, "svg").decode()
    return text[text.index("<svg") :]


def _rendered(figure: Any, ending: str) -> bytes:  # noqa: ANN401
    import matplotlib as mpl

    buffer = io.BytesIO()
    metadata = {"Date": None} if ending == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "tamis", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=ending, dpi=160, metadata=metadata)
    return buffer.getvalue()


def _figure(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    _dress(axes, title)
    return figure, axes


def _dress(axes: Any, title: str) -> None:  # noqa: ANN401
    """A title, a quiet grid, and no more lines than needed."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
