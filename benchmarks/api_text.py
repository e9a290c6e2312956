"""The service's figures in words and tables."""

from __future__ import annotations

from typing import Any

import numpy as np


def api_text(result: dict[str, Any]) -> str:
    """Return a result of ``bench api`` in words and tables."""
    where = result["machine"]
    load = f"load before and after {where['load_before'][0]}, {where['load_after'][0]}"
    starts = result["start"]
    lines = [
        f"{result['data']}; {where['cpu']}; {load}; commit {where['commit']}.",
        "",
        f"Start to listening {middle(starts, 'listening_s'):.2f} s, to ready {middle(starts, 'ready_s'):.2f} s "
        f"(medians of {len(starts)}); {middle(starts, 'rss_mb'):,.0f} MB resident.",
        "",
        "| five seconds of sound: decode, model, search, probes | median ms | p95 ms | p99 ms | answers/s | statuses | own memory MB |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    sound = result["sound"]
    lines += [
        _loaded(f"{sound[n]['users']} users" if sound[n]["users"] > 1 else "alone", sound[n])
        for n in ("alone", "eight", "thirty_two")
        if n in sound
    ]
    if stages := sound.get("stages_ms"):
        lines += ["", "Alone, in the service: " + ", ".join(f"{name} {ms:g} ms" for name, ms in stages.items()) + "."]
    lines += [
        "",
        *_table(
            "by one of the archive's windows", {"alone": result["window"]["one"], "8 users": result["window"]["eight"]}
        ),
    ]
    if mixed := result.get("mixed"):
        rows = {"five seconds, 4 users, nobody else": mixed["alone"], **mixed["users"]}
        lines += ["", *_table("three kinds of users at once", rows), ""]
        others = ", ".join(f"{name} {n}" for name, n in mixed["slow_and_interrupted"].items())
        lines.append(
            f"The third kind, slow and interrupted uploads: {others}. Own memory {mixed['own_mb_before']} to {mixed['own_mb_after']} MB."
        )
    if "pictures" in result:
        lines += [
            "",
            *_table("spectrogram of a window, 400 x 220", {n: result["pictures"][n] for n in ("cold", "cached")}),
        ]
    if page := result.get("page"):
        lines += [
            "",
            "The page in headless Chromium: " + ", ".join(f"{name} {value}" for name, value in page.items()) + ".",
        ]
    return "\n".join(lines)


def _table(what: str, rows: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"| {what} | median ms | p95 ms | p99 ms | answers/s | statuses |", "|---|---:|---:|---:|---:|---|"]
    return lines + [_row(name, row) for name, row in rows.items()]


def _row(name: str, row: dict[str, Any]) -> str:
    statuses = ", ".join(f"{s}: {n}" for s, n in row["statuses"].items())
    return f"| {name} | {row['median_ms']} | {row['p95_ms']} | {row['p99_ms']} | {row['per_s']} | {statuses} |"


def _loaded(name: str, row: dict[str, Any]) -> str:
    return f"{_row(name, row)} {row['own_mb_before']:,.0f} → {row['own_mb_after']:,.0f} |"


def middle(rows: list[dict[str, float]], key: str) -> float:
    """Return the median of one figure of several runs."""
    return float(np.median([row[key] for row in rows]))
