"""How pages look: on paper, in light and dark, on a phone."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { --ink: #1c1d22; --quiet: #5b5f6b; --page: #fbfbf9; --card: #fff; --line: #e3e3df;
  --accent: #1f5fa8; --train: #8a8d96; --best: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --quiet: #a4a7b1; --page: #16171a;
  --card: #1e2024; --line: #34363d; --accent: #7db4f0; --train: #8f939e; --best: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
main.broad { max-width: 66rem; } main.broad img { max-height: 46rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
.headline { font-size: 2.6rem; font-weight: 650; line-height: 1.2; margin: .6rem 0 .2rem;
  font-variant-numeric: tabular-nums; }
.headline small { font-size: 1.05rem; font-weight: 400; color: var(--quiet); }
.quiet, footer, figcaption { color: var(--quiet); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.15rem; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem 0; overflow-wrap: anywhere;
  border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
tr:first-child > * { border-top: 0; }
th { font-weight: 400; color: var(--quiet); width: 10rem; padding-right: 1rem; }
.wide { overflow-x: auto; } .wide th { width: auto; }
.grid td, .grid th { display: table-cell; white-space: nowrap; padding-right: 1.1rem;
  text-align: right; border-top: 1px solid var(--line); }
.grid td:first-child, .grid th:first-child, .grid td:nth-child(3), .grid th:nth-child(3)
  { text-align: left; } .grid td:nth-child(3) { white-space: normal; min-width: 7rem; }
.grid.numbers td:nth-child(3), .grid.numbers th:nth-child(3)
  { text-align: right; white-space: nowrap; min-width: 0; }
.grid.numbers td:first-child { white-space: normal; min-width: 10rem; }
.grid.numbers td:last-child { white-space: normal; padding-right: 0; }
figure { margin: 0; } figcaption { font-size: .9rem; margin-top: .5rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: .3rem; }
.curve { display: block; width: 100%; height: auto; }
.curve .axis { fill: var(--quiet); font-size: 13px; }
.curve .grid { stroke: var(--line); }
.curve polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.curve .train { stroke: var(--train); stroke-dasharray: 5 4; }
.curve .validation { stroke: var(--accent); }
.curve .best { fill: var(--best); }
.key { white-space: nowrap; } .key.train { color: var(--quiet); }
.key.validation { color: var(--accent); } .key.best { color: var(--best); }
ul { margin: 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
dl { margin: 0; } dt { color: var(--quiet); } dd { margin: 0 0 .7rem; }
dd:last-child { margin-bottom: 0; }
code, pre { font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dd code { display: block; overflow-wrap: anywhere; user-select: all; }
summary { cursor: pointer; } pre { overflow-x: auto; margin: .6rem 0 0; }
footer { margin-top: 1.5rem; font-size: .9rem; }
@media (max-width: 30rem) { .headline { font-size: 2rem; }
  th, td { display: block; width: auto; } th { padding-bottom: 0; }
  td { border-top: 0; padding-top: 0; } }
@media print { .grid { font-size: .62rem; } section { break-inside: avoid; } }
"""
