"""A diff as one HTML file: what is wrong, the error along the network, and along the steps."""

import math
from collections.abc import Sequence
from html import escape

from parity.diff.arrays import Compared
from parity.diff.report import Finding, Report, line

WIDTH, HEIGHT, LEFT, BOTTOM = 1080, 340, 60, 30
LOWEST, HIGHEST = -18.0, 2.0
COLOURS = {
    "output": "#2563eb",
    "loss": "#111827",
    "output gradient": "#9333ea",
    "parameter gradient": "#d97706",
    "buffer": "#0d9488",
    "parameter after the step": "#16a34a",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; color: #111827; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem; vertical-align: top; }
th { border-bottom: 2px solid #9ca3af; } td { border-bottom: 1px solid #e5e7eb; }
.key span { margin-right: 1.2rem; } svg { width: 100%; height: auto; background: #f9fafb; border-radius: 6px; }
.bad { color: #b91c1c; } .good { color: #15803d; } code { background: #f3f4f6; padding: 0 .25rem; border-radius: 3px; }
"""


def as_html(report: Report, title: str = "Port and original") -> str:
    """The report as a page that needs no other file."""
    first = escape(line(report.first)) if report.first else "none"
    verdict = (
        f'<p class="good">No difference: {len(report.running)} quantities agree in {report.precision}.</p>'
        if report.same
        else f'<p class="bad">First difference, as it runs: {first}</p>'
    )
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{escape(title)}</h1>{verdict}",
        _findings(report.findings),
        "<h2>Error along the network</h2><p>Each dot is a quantity, in the order of computation; the grey line is what "
        "rounding explains. Rings lie above it. Point at a dot for its name.</p>",
        _key(report.running),
        _network(report.running),
        "<h2>Error along the steps</h2><p>The largest error of each kind in each step.</p>",
        _steps(report.running),
        _list("Not lined up", report.unmatched),
        _list("Notes", report.notes),
        _list("Rounding, amplified", [line(each) for each in report.amplified()]),
    ]
    return "\n".join(parts)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(found.name)}</code><br>{escape(found.kind)}</td><td>{found.worst.error:.1e}</td>"
        f"<td>{found.worst.limit:.1e}</td><td>{escape(found.cause.says) if found.cause else 'unknown'}</td>"
        f"<td>{escape(found.cause.fix if found.cause else line(found.worst))}<br>{escape(found.inside)}</td></tr>"
        for found in findings
    )
    head = "<tr><th>wrong by itself</th><th>error</th><th>rounding</th><th>cause</th><th>what to change</th></tr>"
    return f"<h2>Layer by layer</h2><table>{head}{rows}</table>"


def _key(running: Sequence[Compared]) -> str:
    kinds = dict.fromkeys(each.kind for each in running)
    dots = "".join(f'<span style="color:{_colour(kind)}">● {escape(kind)}</span>' for kind in kinds)
    return f'<p class="key">{dots}</p>'


def _colour(kind: str) -> str:
    return COLOURS.get(kind, "#6b7280")


def _y(value: float) -> float:
    log = LOWEST if value <= 0 else HIGHEST if math.isinf(value) else min(max(math.log10(value), LOWEST), HIGHEST)
    return (HIGHEST - log) / (HIGHEST - LOWEST) * (HEIGHT - BOTTOM - 10) + 10


def _axes(labels: Sequence[tuple[float, str]]) -> str:
    lines = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{_y(10.0**p):.1f}" y2="{_y(10.0**p):.1f}" stroke="#e5e7eb"/>'
        f'<text x="{LEFT - 8}" y="{_y(10.0**p) + 4:.1f}" font-size="12" text-anchor="end">1e{p:+d}</text>'
        for p in range(int(LOWEST), int(HIGHEST) + 1, 4)
    )
    texts = "".join(f'<text x="{x:.1f}" y="{HEIGHT - 8}" font-size="12">{escape(text)}</text>' for x, text in labels)
    return lines + texts


def _network(running: Sequence[Compared]) -> str:
    step = (WIDTH - LEFT - 20) / max(len(running), 1)
    xs = [LEFT + step * (index + 0.5) for index in range(len(running))]
    firsts = {each.step: x for x, each in reversed(list(zip(xs, running, strict=True)))}
    labels = [(x, f"step {number}") for number, x in sorted(firsts.items())]
    limits = " ".join(f"{x:.1f},{_y(each.limit):.1f}" for x, each in zip(xs, running, strict=True))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{_y(each.error):.1f}" r="{4.5 if each.differs else 2.5}" '
        f'fill="{"none" if each.differs else _colour(each.kind)}" stroke="{_colour(each.kind)}" stroke-width="1.5">'
        f"<title>{escape(line(each))}</title></circle>"
        for x, each in zip(xs, running, strict=True)
    )
    limit = f'<polyline points="{limits}" fill="none" stroke="#9ca3af"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{_axes(labels)}{limit}{dots}</svg>'


def _steps(running: Sequence[Compared]) -> str:
    steps = sorted({each.step for each in running})
    width = (WIDTH - LEFT - 60) / max(len(steps) - 1, 1)
    xs = {step: LEFT + 20 + width * index for index, step in enumerate(steps)}
    drawn = ""
    for kind in dict.fromkeys(each.kind for each in running):
        worst = {s: max((e.error for e in running if e.kind == kind and e.step == s), default=0.0) for s in steps}
        points = " ".join(f"{xs[step]:.1f},{_y(error):.1f}" for step, error in worst.items())
        drawn += f'<polyline points="{points}" fill="none" stroke="{_colour(kind)}" stroke-width="1.5"/>'
        drawn += "".join(
            f'<circle cx="{xs[s]:.1f}" cy="{_y(e):.1f}" r="3" fill="{_colour(kind)}">'
            f"<title>{escape(kind)}: {e:.1e}</title></circle>"
            for s, e in worst.items()
        )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{_axes([(x, f"step {s}") for s, x in xs.items()])}{drawn}</svg>'


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""
