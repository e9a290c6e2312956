"""How the report page looks: one style sheet, light and dark, screen, phone and paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d2624; --soft: #5b6764; --faint: #8a9592; --rule: #e3e1dc; --grid: #eceae6;
  --good: #0e7268; --good-soft: rgba(14, 114, 104, .2); --chance: #b9551a; --wrong: #b4493a;
  --negative: #97a3a8; --weak: #d5dadb; --note: #fdf5e8; --note-rule: #d99a45; --on-dark: #ffffff;
  --sans: "Inter", ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Source Serif 4", "Source Serif Pro", Georgia, "DejaVu Serif", serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131817; --card: #1a201f; --ink: #e6ebe8; --soft: #a5b0ac; --faint: #7d8985; --rule: #2d3634; --grid: #262e2c;
    --good: #55c7b6; --good-soft: rgba(85, 199, 182, .26); --chance: #efa061; --wrong: #e98673;
    --negative: #6f7d82; --weak: #3f4a4d; --note: #272116; --note-rule: #b98340; --on-dark: #10201d;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 var(--sans); font-feature-settings: "tnum", "cv11";
  font-variant-numeric: tabular-nums; }
main { max-width: 1080px; margin: 0 auto; padding: 56px 32px 72px; }
h1, h2 { font-family: var(--serif); font-weight: 600; letter-spacing: -.01em; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 42px; line-height: 1.12; margin: 4px 0 10px; }
h1 small { font-size: .5em; font-weight: 400; color: var(--soft); margin-left: .35em; white-space: nowrap; letter-spacing: 0; }
h2 { font-size: 23px; line-height: 1.25; margin: 0 0 6px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 8px; overflow-wrap: anywhere; }
section { margin-top: 52px; }
p { margin: 0 0 12px; max-width: 72ch; text-wrap: pretty; }
.eyebrow { font-size: 12px; letter-spacing: .09em; text-transform: uppercase; color: var(--good); font-weight: 600; margin: 0; }
.meta { color: var(--soft); max-width: none; margin: 0 0 18px; }
.lead { font-family: var(--serif); font-size: 20px; line-height: 1.45; max-width: 62ch; margin: 0; }
.caption { color: var(--soft); font-size: 13.5px; margin-bottom: 18px; }
.soft { color: var(--soft); } .faint { color: var(--faint); }
.numbers { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1px; background: var(--rule); border: 1px solid var(--rule);
  border-radius: 10px; overflow: hidden; margin-top: 32px; }
.number { background: var(--card); padding: 18px 22px 16px; min-width: 0; }
.number .name { font-size: 13.5px; font-weight: 600; } .number .what { color: var(--faint); font-size: 12.5px; margin-left: .5em; }
.number .value { font-size: 36px; line-height: 1.2; font-weight: 500; letter-spacing: -.025em; display: block; margin: 4px 0 4px; }
.number .beside { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 12px; font-size: 12.5px; color: var(--soft); }
.number .strip { width: 100%; height: 16px; } .chance-word { color: var(--chance); }
.cautions { background: var(--note); border-left: 3px solid var(--note-rule); border-radius: 0 8px 8px 0; padding: 16px 22px 14px;
  margin-top: 28px; }
.cautions h2 { font: 600 14px/1.4 var(--sans); letter-spacing: 0; margin: 0 0 6px; }
.cautions ul { margin: 0; padding-left: 18px; } .cautions li { margin: 3px 0; max-width: 88ch; overflow-wrap: anywhere; }
details > summary { cursor: pointer; color: var(--soft); font-size: 14px; padding: 6px 0; }
.scroll { overflow-x: auto; margin: 0 -4px; padding: 0 4px 4px; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; vertical-align: baseline; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 500; color: var(--soft); font-size: 12.5px; line-height: 1.3; border-bottom: 1px solid var(--rule);
  vertical-align: bottom; }
thead .group th { border: 0; padding-bottom: 0; color: var(--ink); font-weight: 600; } thead th[colspan] { text-align: left; }
tbody td, tbody th { border-bottom: 1px solid var(--grid); font-weight: 400; }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
tbody th { font-weight: 600; white-space: normal; min-width: 9em; max-width: 19em; overflow-wrap: anywhere; }
td .under { display: block; font-size: 11.5px; color: var(--faint); line-height: 1.35; } td .under.chance-word { color: var(--chance); }
td.pic { padding-right: 4px; width: 124px; } td .strip { width: 120px; height: 16px; vertical-align: -3px; }
.grid { display: grid; gap: 30px 36px; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); }
.pair { display: grid; gap: 8px 28px; grid-template-columns: 190px 1fr 1fr; border-top: 1px solid var(--rule); padding: 20px 0 14px; }
.pair .about { min-width: 0; } .pair .about p { margin: 0 0 4px; font-size: 13px; line-height: 1.45;
  color: var(--soft); }
.pair .about b { font-weight: 600; color: var(--ink); }
.pair h3 { margin: 0 0 10px; font-size: 16px; line-height: 1.3; }
i.under { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); }
.plot { width: 100%; overflow: visible; height: auto; display: block; max-width: 460px; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; color: var(--soft); margin: 2px 0 10px; padding: 0;
  list-style: none; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 7px; vertical-align: -1px; }
.key .is-line { height: 0; width: 18px; border-top: 2px dashed var(--chance); border-radius: 0; vertical-align: 4px; }
.is-positive { background: var(--good); } .is-negative { background: var(--negative); } .is-weak { background: var(--weak); }
.is-wrong { background: var(--wrong); }
svg text { font-family: var(--sans); font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .axis-name { font-weight: 600; fill: var(--ink); }
svg .note { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
svg .strong { font-weight: 600; } svg .chance-name { fill: var(--chance); } svg line { stroke: var(--rule); }
.wide { grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); gap: 36px 56px; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--faint); }
svg .chance { stroke: var(--chance); stroke-width: 1.5; stroke-dasharray: 4 3; } .strip .chance { stroke-dasharray: none; stroke-width: 2; }
svg .rail { stroke: var(--rule); stroke-width: 2; stroke-linecap: round; }
svg .span { stroke: var(--good); stroke-opacity: .38; stroke-width: 6; stroke-linecap: round; }
svg .dot { fill: var(--good); } svg .chosen { fill: var(--paper); stroke: var(--ink); stroke-width: 2; }
svg .curve { fill: none; stroke: var(--good); stroke-width: 2; stroke-linejoin: round; } svg .band { fill: var(--good-soft); stroke: none; }
svg .threshold { stroke: var(--ink); stroke-width: 1.2; } svg .positive { fill: var(--good); } svg .negative { fill: var(--negative); }
svg .weak { fill: var(--weak); }
svg .cell { fill: var(--grid); } svg .cell-right { fill: var(--good); } svg .cell-wrong { fill: var(--wrong); }
svg .cell-number { fill: var(--ink); } svg .on-dark { fill: var(--on-dark); } svg .zero { fill: var(--faint); }
.facts { display: grid; grid-template-columns: minmax(0, 1fr) 360px; gap: 28px 48px; align-items: start; margin-bottom: 12px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 24px; margin: 0; font-size: 14px; } dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: 12.5px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: 6px 0 0; padding: 16px 18px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; overflow-x: auto; }
footer { margin-top: 64px; padding-top: 18px; border-top: 1px solid var(--rule); color: var(--soft); font-size: 13px; }
footer p { max-width: 84ch; margin-bottom: 6px; }
@media (max-width: 760px) {
  main { padding: 28px 18px 48px; } h1 { font-size: 31px; } .lead { font-size: 18px; } section { margin-top: 40px; }
  .numbers { grid-template-columns: 1fr 1fr; } .number { padding: 13px 14px 12px; } .number .value { font-size: 28px; }
  .number .what { display: block; margin: 0; }
  .pair, .facts { grid-template-columns: minmax(0, 1fr); } .pair .about p { display: inline; margin-right: 12px; }
  .grid { gap: 24px; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 9px; }
  .scroll tbody th, .scroll thead th:first-child { position: sticky; left: 0; background: var(--paper); min-width: 7.5em; max-width: 9.5em;
    padding-right: 8px; }
}
@media print { body { background: #fff; font-size: 12px; } main { max-width: none; padding: 0; }
section, .pair, .cautions { break-inside: avoid; } }
"""
