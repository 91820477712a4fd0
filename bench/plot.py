"""Drawings of curves over the number of users, as SVG with logarithmic axes and a name at the end of each curve."""

import math
from html import escape

# Distinguishable with colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WIDTH, HEIGHT, LEFT, TOP = 340, 340, 60, 46  # of the axes' area, and where it begins
NAMES, BELOW, LINE = 130, 50, 15  # width of the curves' names, height of the lower axis and of one name
LEAST = 0.1  # smaller values are drawn as this


def draw(*panels) -> str:
    """Return an SVG with charts side by side.

    `panels` are alternately a chart's title and its curves. The curves map a name to a mapping of users to value.
    """
    pairs = list(zip(panels[::2], panels[1::2]))
    step = LEFT + WIDTH + NAMES
    parts = [panel(title, curves, LEFT + number * step) for number, (title, curves) in enumerate(pairs)]
    size = f'width="{step * len(pairs)}" height="{TOP + HEIGHT + BELOW}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect {size} fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def panel(title: str, curves: dict[str, dict[int, float]], left: int) -> str:
    """Return the SVG of one chart. `left` is the horizontal position of its vertical axis."""
    values = [max(value, LEAST) for curve in curves.values() for value in curve.values()]
    across = Axis([users for curve in curves.values() for users in curve], left, WIDTH)
    up = Axis(values, TOP + HEIGHT, -HEIGHT)
    parts = [
        f'<text x="{left}" y="24" font-size="14" font-weight="bold">{escape(title)}</text>',
        text(left + WIDTH / 2, TOP + HEIGHT + 38, "users", "middle"),
    ]
    for users in across.decades:
        parts += [
            line(across(users), TOP, across(users), TOP + HEIGHT),
            text(across(users), TOP + HEIGHT + 18, f"{users:,.0f}", "middle"),
        ]
    for value in up.decades:
        parts += [
            line(left, up(value), left + WIDTH, up(value)),
            text(left - 6, up(value) + 4, f"{value:,g}", "end"),
        ]
    ends = apart({name: up(max(curve[max(curve)], LEAST)) for name, curve in curves.items()})
    for (name, curve), colour in zip(curves.items(), COLOURS):
        points = " ".join(
            f"{across(users):.1f},{up(max(value, LEAST)):.1f}" for users, value in curve.items()
        )
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            text(left + WIDTH + 8, ends[name] + 4, name, "start", colour),
        ]
    return "\n".join(parts)


class Axis:
    """A logarithmic axis that covers whole powers of ten. Calling it converts a value to its coordinate.

    The axis begins at the coordinate `start`, and is `length` long.
    """

    def __init__(self, values: list[float], start: float, length: float):
        self.low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high = max(high, self.low + 1)
        self.start, self.length = start, length
        self.decades = [10.0**exponent for exponent in range(self.low, self.high + 1)]

    def __call__(self, value: float) -> float:
        return self.start + self.length * (math.log10(value) - self.low) / (self.high - self.low)


def apart(heights: dict[str, float]) -> dict[str, float]:
    """Return the vertical positions of the curves' names, moved up where two of them would overlap."""
    free, moved = TOP + HEIGHT + LINE, {}
    for name, height in sorted(heights.items(), key=lambda item: -item[1]):
        free = moved[name] = min(height, free - LINE)
    return moved


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>'


def text(x: float, y: float, content: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(content)}</text>'
