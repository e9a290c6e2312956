"""The verbs as typed, on a small real store: what they print, and how they refuse."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import pyarrow.parquet as pq
import pytest

from sonotheque.cli.fitting import fitted_to, shortened
from sonotheque.cli.main import main
from store import open_archive


@pytest.fixture
def run(monkeypatch, capfd, real):
    """Run a verb on the store; returns exit code, stdout, stderr."""

    def go(*words, store=True):
        argv = ["sonotheque", *map(str, words), *(["--store", str(real)] if store else [])]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return go


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out


# sql


def test_a_table(run):
    code, out, err = run("sql", "SELECT site, count(*) AS windows FROM windows GROUP BY site ORDER BY site")
    assert (code, err) == (0, "2 rows\n")
    assert out.splitlines() == ["site    windows", "------  -------", "forest       36", "marsh        35"]


def test_a_long_table_is_cut_and_says_so(run):
    _, out, err = run("sql", "SELECT * FROM windows")
    assert len(out.splitlines()) == 52
    assert err == "50 of 71 rows; --limit 0 shows all, --csv prints them whole, --out FILE writes them\n"
    _, out, err = run("sql", "SELECT path FROM windows", "--limit", 0)
    assert (len(out.splitlines()), err) == (73, "71 rows\n")


def test_parameters(run):
    query = "SELECT count(*) AS n FROM windows WHERE site = $site AND start_s >= $least"
    assert ok(run("sql", query, "--param", "site=forest", "--param", "least=3", "--csv")) == "n\r\n24\r\n"
    assert ok(run("sql", "SELECT ? + ?", "--value", 1, "--value", 2, "--csv")).endswith("\r\n3\r\n")
    assert ok(run("sql", "SELECT count(*) FROM windows WHERE date = $d", "--param", "d=2024-05-01", "--csv")).endswith(
        "36\r\n"
    )


def test_csv_and_json_agree(run):
    query = "SELECT path, utc_start, local_start, duration_s, time_issues, deployment FROM recordings ORDER BY path"
    rows = list(csv.DictReader(io.StringIO(ok(run("sql", query, "--csv")), newline="")))
    found = json.loads(ok(run("sql", query, "--json")))
    assert set(found) == {"store", "snapshot", "columns", "rows", "truncated"}
    assert [c["name"] for c in found["columns"]] == [
        "path",
        "utc_start",
        "local_start",
        "duration_s",
        "time_issues",
        "deployment",
    ]
    assert len(rows) == len(found["rows"]) == 25
    for texts, row in zip(rows, found["rows"], strict=True):
        assert texts["path"] == row["path"]
        assert texts["utc_start"] == (row["utc_start"] or "")
        assert json.loads(texts["time_issues"]) == row["time_issues"]
    assert found["rows"][0]["utc_start"] == "2024-05-01T02:00:00Z"
    assert found["rows"][0]["local_start"] == "2024-05-01T04:00:00"


def test_files(run, tmp_path):
    for name in ("x.parquet", "x.csv", "x.json"):
        code, out, err = run("sql", "SELECT * FROM embeddings", "--out", tmp_path / name)
        assert (code, out) == (0, "")
        assert "71 rows written" in err
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 71
    assert len(json.loads((tmp_path / "x.json").read_text())["rows"][0]["embedding"]) == 8
    assert run("sql", "SELECT 1", "--parquet", tmp_path / "x.parquet")[0] == 5
    assert run("sql", "SELECT 1", "--parquet", tmp_path / "x.parquet", "--overwrite")[0] == 0
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 1
    _, _, err = run("sql", "SELECT * FROM windows", "--csv", "--out", tmp_path / "y", "--limit", 3)
    assert "3 rows written" in err
    assert "cut off by --limit" in err


def test_a_query_from_a_file(run, tmp_path):
    (tmp_path / "q.sql").write_text("SELECT count(*) AS n\nFROM recordings -- all\n;")
    assert ok(run("sql", "--file", tmp_path / "q.sql", "--csv")) == "n\r\n25\r\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["SELECT pth FROM recordings"], 2, r'Candidate bindings: "path"'),
        (["SELECT * FROM recordngs"], 2, r"there is no view recordngs; did you mean recordings\?"),
        (["SELEC 1"], 2, "syntax error"),
        (["SELECT $a"], 2, "--param a=VALUE"),
        ([""], 2, "the query is empty"),
        ([], 2, "give one query"),
        (["SELECT 1", "--file", "x"], 2, "give one query"),
        (["SELECT 1", "--csv", "--json"], 2, "one format at a time"),
        (["SELECT 1", "--out", "x.xls"], 2, "the ending says the format"),
        (["SELECT 1", "--limit", "-1"], 2, "limit"),
        (["SELECT 1", "--snapshot", "99"], 4, "99"),
        (["SELECT * FROM windows WHERE site = $s", "--param", "s=12"], 2, "in single quotes it is text"),
    ],
)
def test_what_cannot_be_asked(run, words, code, told):
    found, out, err = run("sql", *words)
    assert found == code, err
    assert re.search(told, err)
    assert out == "" or "--json" in words


def test_an_error_as_json(run):
    code, out, _ = run("sql", "SELECT pth FROM recordings", "--json")
    assert code == 2
    assert json.loads(out)["error"]["kind"] == "unknown_column"


def test_a_plan_is_shown_as_it_is_drawn(run):
    assert "\n" in ok(run("sql", "EXPLAIN SELECT count(*) FROM windows")).strip()


def test_no_store(run, tmp_path):
    for verb in (["sql", "SELECT 1"], ["summary"], ["activity", "--species", "x"], ["species"]):
        code, _, err = run(*verb, "--store", tmp_path, store=False)
        assert code == 4
        assert str(tmp_path) in err


# schema


def test_schema(run):
    out = ok(run("schema", store=False))
    assert out.count("column  ") >= 1
    assert "minutes_since_sunrise" in out
    assert "minutes_since_sunrise" not in ok(run("schema", "sites", store=False))
    views = json.loads(ok(run("schema", "--json", store=False)))["views"]
    names = ["recordings", "windows", "predictions", "embeddings", "annotations", "scores", "sites"]
    assert [v["name"] for v in views] == names
    assert set(views[0]["columns"][0]) == {"name", "type", "unit", "meaning", "null"}
    assert ok(run("schema", "--markdown", store=False)).startswith("# The views of SQL")
    assert run("schema", "windos", store=False)[0] == 4
    assert run("schema", "windows", "--markdown", store=False)[0] == 2


# summary


def test_summary(run):
    out = ok(run("summary"))
    assert "25 recordings at 2 sites, 2024-05-01 to 2024-05-02" in out
    assert "done 24, skipped 0, failed 1" in out
    assert "3 s every 60 min" not in out
    assert "9 s every 60 min" in out
    assert "2 windows have no known time" in out
    found = json.loads(ok(run("summary", "--json")))
    assert set(found) == {"store", "snapshot", "model", "filter", "totals", "sites", "gap_min_s", "gaps", "days"}
    marsh = found["sites"][1]
    assert (marsh["recordings"], marsh["failed"], marsh["without_time"]) == (13, 1, 1)
    night = [g for g in found["gaps"] if g["site"] == "forest"]
    assert [(g["from_local"], g["to_local"]) for g in night] in (
        [], [("2024-05-01T09:00:09", "2024-05-02T04:00:00")],
    )  # fmt: skip
    lost = [g for g in found["gaps"] if g["failed"]]
    assert lost[0]["examples"] == ["marsh/23.wav: unreadable"]


def test_summary_by_day(run):
    out = ok(run("summary", "--by-day", "--site", "marsh"))
    assert re.search(r"2024-05-02 +0\.8!", out)
    assert "forest" not in out
    rows = list(csv.DictReader(io.StringIO(ok(run("summary", "--by-day", "--csv")), newline="")))
    assert [(r["site"], r["date"], r["recordings"], r["failed"]) for r in rows] == [
        ("forest", "2024-05-01", "6", "0"), ("forest", "2024-05-02", "6", "0"),
        ("marsh", "2024-05-01", "6", "0"), ("marsh", "2024-05-02", "6", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--site", "forst"], 4, r"did you mean forest\?"),
        (["--species", "rain"], 2, "summary is about recordings"),
        (["--csv", "--json"], 2, "one format"),
        (["--plot", "x.gif"], 2, "must be .png, .svg, .pdf"),
        (["--plot", "nowhere/x.png"], 4, "there is no folder"),
        (["--min-gap-min", "-5"], 2, "min-gap-min"),
    ],
)
def test_summaries_that_cannot_be(run, words, code, told):
    found, _, err = run("summary", *words)
    assert found == code, err
    assert re.search(told, err)


# activity


def test_activity(run, real):
    out = ok(run("activity", "--species", "strix ALUCO", "--min-score", 0.1))
    with open_archive(real) as archive:
        n = archive.sql(
            "SELECT count(*) AS n FROM predictions WHERE label = 'Strix aluco' AND score >= 0.1 AND date IS NOT NULL"
        )
    assert f"Strix aluco at 2 sites: {n['n'][0].as_py():,} windows" in out
    assert "score >= 0.1" in out
    assert "not counted, for want of a time: 2 windows" in out
    table = [line for line in out.splitlines() if line.startswith("2024-")]
    assert len(table) == 2
    hours = [table[0][12 + 3 * h : 14 + 3 * h].strip() for h in range(24)]
    assert [h for h, text in enumerate(hours) if text] == [4, 5, 6, 7, 8, 9]  # the others were not recorded


def test_activity_by_all_words(run):
    for by in ("hour", "date", "month", "sun", "date-hour"):
        found = json.loads(ok(run("activity", "--species", "Parus major", "--by", by, "--json")))
        assert found["by"] == by
        ok(run("activity", "--species", "Parus major", "--by", by, "--per-site"))
    rows = list(
        csv.DictReader(io.StringIO(ok(run("activity", "--species", "rain", "--by", "hour", "--csv")), newline=""))
    )
    assert list(rows[0]) == ["label", "site", "hour", "windows", "audio_h", "detections", "detections_per_h"]
    assert [r["hour"] for r in rows] == ["4", "5", "6", "7", "8", "9"]


def test_the_filter_s_label_is_a_species_too(run):
    found = json.loads(ok(run("activity", "--species", "rain", "--label", "wind", "--json")))
    assert found["labels"] == ["rain", "wind"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--species", "strix aluko"], 4, r"did you mean Strix aluco\?"),
        ([], 2, "--species NAME"),
        (["--species", "rain", "--by", "week"], 2, "--by week"),
        (["--species", "rain", "--source", "probe"], 2, "--source probe"),
        (["--species", "rain", "--source", "annotations"], 4, "holds no annotations"),
        (["--species", "rain", "--site", "moor"], 4, "no site 'moor'"),
        (["--species", "rain", "--hours", "25:00-26:00"], 2, "25:00"),
    ],
)
def test_activities_that_cannot_be(run, words, code, told):
    found, _, err = run("activity", *words)
    assert found == code, err
    assert re.search(told, err)


def test_a_species_that_is_not_there_says_how_near_it_came(run):
    _, out, err = run("activity", "--species", "rain", "--min-score", 0.999)
    assert re.search(r"note: no such window holds rain; its best score there is 0\.\d+", err)
    assert "0 windows" in out


# species


def test_species(run, real):
    out = ok(run("species"))
    assert "score >= 0.5 (--min-score), rank <= 1 (--max-rank)" in out
    with open_archive(real) as archive:
        rows = archive.sql(
            "SELECT label, count(*) AS n FROM predictions WHERE rank = 1 AND score >= 0.5 GROUP BY 1 ORDER BY n DESC, label"
        )
    first = rows.to_pylist()[0]
    assert re.search(rf"{re.escape(first['label'])} +{first['n']} ", out)
    assert "1 of 5 rows; --top N shows more" in ok(run("species", "--top", 1))
    assert "best windows of rain" in ok(run("species", "--species", "rain", "--best", 3))
    found = json.loads(ok(run("species", "--json", "--per-site")))
    assert {row["site"] for row in found["rows"]} == {"forest", "marsh"}
    rows = list(csv.DictReader(io.StringIO(ok(run("species", "--csv", "--top", 2)), newline="")))
    assert len(rows) == 2
    assert run("species", "--species", "rayn")[0] == 4
    assert run("species", "--best", 0)[0] == 2


def test_species_without_any(run):
    assert "0 species" in ok(run("species", "--min-score", 1))


# pictures


@pytest.mark.parametrize(
    "words",
    [
        ["summary"],
        ["activity", "--species", "rain"],
        ["activity", "--species", "rain", "--species", "wind", "--per-site", "--counts"],
        ["activity", "--species", "rain", "--by", "hour"],
        ["species"],
        ["species", "--per-site"],
    ],
    ids=" ".join,
)
def test_pictures(run, tmp_path, words):
    target = tmp_path / "x.png"
    code, _, err = run(*words, "--plot", target)
    assert code == 0, err
    assert f"drawn: {target}" in err
    assert target.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_no_picture_of_nothing(run, tmp_path):
    code, _, err = run("species", "--min-score", 1, "--plot", tmp_path / "x.png")
    assert code == 4
    assert "nothing to draw" in err
    assert not list(tmp_path.iterdir())


# tables that fit


def test_tables_fit_a_terminal():
    rows = [["a" * 50, "1234567", "b" * 30], ["c", "1", "d"]]
    for width in (20, 40, 60, 80, 200):
        text = fitted_to(width, ["path", "n", "name"], rows, right=(1,))
        assert max(map(len, text.splitlines())) <= max(width, 8 + 7 + 8 + 4)
        assert "1234567" in text
    assert "a" * 50 in fitted_to(200, ["path", "n", "name"], rows, right=(1,))
    assert "a" * 50 in fitted_to(None, ["path", "n", "name"], rows, right=(1,))
    assert "…" in fitted_to(None, ["path"], [["x" * 100]])


def test_the_widest_column_gives_way_first():
    text = fitted_to(40, ["a", "b"], [["x" * 60, "short name"]])
    assert "short name" in text
    assert max(map(len, text.splitlines())) == 40


@pytest.mark.parametrize(("text", "most", "cut"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "ab…efg"), ("abc", 1, "…")])
def test_the_ends_are_kept(text, most, cut):
    assert shortened(text, most) == cut
    assert len(shortened(text, most)) <= most
