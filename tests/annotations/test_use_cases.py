"""Importing, exporting, listing and undoing on a store of recordings; and that what fails changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search_api.annotation_tables import ImportOptions, export_annotations, import_tables
from search_api.annotations import (
    add_annotation,
    annotation_events,
    annotation_labels,
    default_annotator,
    list_annotations,
    undo_annotations,
)
from sonotheque.core.errors import Conflict, Invalid, NotFound, SonothequeError, Unavailable
from sonotheque.core.filters import SearchFilter
from store import open_archive
from store.annotations.formats import FORMATS
from tests.annotations.support import write

A, B = "site0/20240501_040000.wav", "site1/20240501_050000.wav"
RAVEN = "Begin Time (s)\tEnd Time (s)\tSpecies\n"
HOPLITE = "recording,start_offset_s,end_offset_s,label,label_type\n"
ANA = ImportOptions(annotator="Ana")


def rows(store: str, *columns: str, **only: Any) -> list[tuple[Any, ...]]:
    table = list_annotations(store, **only).select(
        list(columns or ("path", "start_s", "end_s", "label", "judgement", "annotator"))
    )
    return [tuple(row.values()) for row in table.to_pylist()]


def test_a_folder_of_tables_is_one_import(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    write(folder, "site0/20240501_040000.Table.1.selections.txt", f"{RAVEN}1\t2\towl\n3\t14\twren\n")
    write(folder, "site1/20240501_050000.Table.1.selections.txt", f"{RAVEN}1\t2\towl\n")
    write(folder, "README.txt", "about these tables\n")
    write(folder, "notes.pdf", "not looked at")
    found = import_tables(store, [str(folder)], ANA)
    assert {k: found[k] for k in ("rows", "added", "already_there", "batch", "cut", "unknown")} == {
        "rows": 3,
        "added": 3,
        "already_there": 0,
        "batch": 1,
        "cut": 1,
        "unknown": {},
    }
    assert [Path(p).name for p in found["left_out"]] == ["README.txt"]
    assert {f["format"] for f in found["files"]} == {"raven"}
    assert found["found_by"] == {"last parts of the path": 3}
    assert rows(store) == [
        (A, 1, 2, "owl", "positive", "Ana"),
        (A, 3, 13.25, "wren", "positive", "Ana"),
        (B, 1, 2, "owl", "positive", "Ana"),
    ]
    assert rows(store, "provenance") == [("raven:20240501_040000.Table.1.selections.txt",)] * 2 + [
        ("raven:20240501_050000.Table.1.selections.txt",)
    ]
    again = import_tables(store, [str(folder)], ANA)
    assert (again["added"], again["already_there"], again["batch"]) == (0, 3, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"{HOPLITE}{A},1,2,owl,positive\n{A},3,x,owl,positive\n", "line 3, column 'end_offset_s': 'x'"),
        (f"{HOPLITE}{A},1,2,owl,positive\nno.wav,3,4,owl,positive\n", "line 3: 'no.wav' is no recording"),
        (
            f"{HOPLITE}{A},1,2,owl,positive\n20240501_040000.wav,3,4,owl,positive\n",
            "line 3: '20240501_040000.wav' could mean 2",
        ),
        (f"{HOPLITE}{A},1,2,owl,positive\n{A},3,15,owl,positive\n", "line 3: the span 3 to 15 s ends after"),
        (f"{HOPLITE}{A},1,2,owl,positive\n{A},3,4,owl,perhaps\n", "line 3, column 'label_type': 'perhaps'"),
        ("what is this\n", "no table of annotations"),
    ],
)
def test_one_bad_row_in_the_last_table_and_nothing_is_imported(
    store: str, tmp_path: Path, text: str, error: str
) -> None:
    good = write(tmp_path, "good.csv", f"{HOPLITE}{B},1,2,owl,positive\n")
    bad = write(tmp_path, "bad.csv", text)
    with pytest.raises(SonothequeError) as caught:
        import_tables(store, [str(good), str(bad)], ANA)
    assert error in caught.value.message
    assert str(bad) in caught.value.message
    assert rows(store) == []
    assert not Path(store, "annotations.sqlite").exists()


def test_unknown_recordings_are_left_out_on_request(store: str, tmp_path: Path) -> None:
    table = write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,positive\nno.wav,3,4,owl,0\nno.wav,5,6,owl,1\n")
    found = import_tables(store, [str(table)], ImportOptions(annotator="Ana", skip_unknown=True))
    assert (found["rows"], found["added"], found["unknown"]) == (3, 1, {"no.wav": 2})


def test_a_dry_run_checks_and_adds_nothing(store: str, tmp_path: Path) -> None:
    table = write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,positive\n{A},1,2,owl,positive\n{A},1,2,owl,0\n")
    options = ImportOptions(annotator="Ana", dry_run=True)
    found = import_tables(store, [str(table)], options)
    assert (found["added"], found["already_there"], found["contrary"], found["batch"], found["dry_run"]) == (
        2,
        1,
        1,
        None,
        True,
    )
    assert not Path(store, "annotations.sqlite").exists()
    done = import_tables(store, [str(table)], ANA)
    assert [done[k] for k in ("added", "already_there", "contrary")] == [2, 1, 1]


def test_what_the_table_says_comes_before_what_the_caller_says(store: str, tmp_path: Path) -> None:
    text = f"recording,start_s,end_s,label,judgement,annotator\n{A},1,2,owl,negative,Ben\n{A},1,2,,,\n"
    table = write(tmp_path, "x.csv", text)
    import_tables(store, [str(table)], ImportOptions(annotator="Ana", judgement="uncertain", label="wren"))
    assert rows(store, "label", "judgement", "annotator") == [("owl", "negative", "Ben"), ("wren", "uncertain", "Ana")]


def test_a_judgement_that_is_none_is_refused(store: str, tmp_path: Path) -> None:
    table = write(tmp_path, "x.txt", f"{RAVEN}1\t2\towl\n")
    table.rename(tmp_path / "site0.txt")
    with pytest.raises(Invalid, match="judgement 'maybe'"):
        import_tables(
            store, [str(write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,\n"))], ImportOptions(judgement="maybe")
        )
    assert rows(store) == []


def test_a_folder_of_two_formats_asks_which(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    write(folder, "site0/20240501_040000.BirdNET.selection.table.txt", f"{RAVEN}0\t3\tTawny Owl\n")
    write(
        folder,
        "site0/20240501_040000.BirdNET.results.csv",
        "Start (s),End (s),Scientific name,Common name,Confidence\n0,3,a,b,0.5\n",
    )
    with pytest.raises(Invalid, match=r"BirdNET CSV: 1, Raven selection table: 1.*--format birdnet or raven"):
        import_tables(store, [str(folder)], ANA)
    assert import_tables(store, [str(folder)], ImportOptions(annotator="Ana", format="birdnet"))["added"] == 1
    assert rows(store, "label", "note") == [("a_b", "confidence 0.5")]
    with pytest.raises(NotFound, match="no table of the format pamdp"):
        import_tables(store, [str(folder)], ImportOptions(format="pamdp"))


def test_a_place_that_holds_no_table_says_so(store: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not there"):
        import_tables(store, [str(tmp_path / "no.csv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="holds no table of annotations"):
        import_tables(store, [str(tmp_path / "empty")])
    with pytest.raises(Invalid, match="did you mean raven"):
        import_tables(store, [str(tmp_path / "empty")], ImportOptions(format="Raven"))
    with pytest.raises(NotFound) as caught:
        import_tables(str(tmp_path), [str(write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,owl,\n"))])
    assert caught.value.kind == "no_store"


def test_birdnet_s_last_window_is_cut_at_the_end(store: str, tmp_path: Path) -> None:
    text = f"Start (s),End (s),Scientific name,Common name,Confidence,File\n9,12,a,b,0.5,{A}\n12,15,a,b,0.5,/data/{A}\n"
    found = import_tables(store, [str(write(tmp_path, "x.csv", text))], ANA)
    assert found["cut"] == 1
    assert rows(store, "start_s", "end_s") == [(9, 12), (12, 13.25)]


def seeded(store: str) -> None:
    for path, start_s, label, judgement, who in (
        (A, 1, "owl", "positive", "Ana"),
        (A, 3, "owl", "negative", "Ana"),
        (A, 6, "=1+1", "positive", "Ben"),
        (B, 2, "wren", "uncertain", "Ben"),
        (B, 5, "a_b", "positive", "Ana"),
    ):
        add_annotation(
            store, path, start_s, start_s + 1.25, label, annotator=who, judgement=judgement, low_hz=300, high_hz=900
        )


@pytest.mark.parametrize(
    ("format_", "out", "held", "left"),
    [
        ("raven", "tables", 3, {"negative": 1, "uncertain": 1}),
        ("raven", "all.selections.txt", 3, {"negative": 1, "uncertain": 1}),
        ("audacity", "tracks", 3, {"negative": 1, "uncertain": 1}),
        ("birdnet", "b.csv", 3, {"negative": 1, "uncertain": 1}),
        ("hoplite", "hoplite_annotations.csv", 5, {}),
        ("pamdp", "package", 3, {"negative": 1, "uncertain": 1}),
        ("parquet", "x.parquet", 5, {}),
        ("parquet", "folder", 5, {}),
    ],
)
def test_what_is_exported_is_there_already_when_it_is_imported(
    store: str, tmp_path: Path, format_: str, out: str, held: int, left: dict[str, int]
) -> None:
    seeded(store)
    target = tmp_path / out
    found = export_annotations(store, str(target), format=format_)
    assert (found["annotations"], found["left_out"], found["format"]) == (held, left, format_)
    assert all(Path(f).is_file() for f in found["files"])
    tables = [f for f in found["files"] if not f.endswith("media.csv")]
    before = rows(store)
    back = import_tables(store, tables if target.is_dir() else [str(target)], ANA)
    if format_ in ("audacity", "hoplite"):  # neither holds who judged, and hoplite no band: these are Ana's words now
        assert back["rows"] == held
    else:
        assert (back["added"], back["already_there"]) == (0, held)
        assert rows(store) == before


def test_all_judgements_on_request_where_the_format_can_hold_them(store: str, tmp_path: Path) -> None:
    seeded(store)
    for format_ in ("raven", "birdnet"):
        target = tmp_path / f"{format_}.out.csv"
        assert export_annotations(store, str(target), format=format_, judgement="all")["annotations"] == 5
        assert import_tables(store, [str(target)], ANA)["already_there"] == 5
    for format_ in ("audacity", "pamdp"):
        with pytest.raises(Invalid, match="can only say what is there"):
            export_annotations(store, str(tmp_path / format_), format=format_, judgement="all")
        assert not (tmp_path / format_).exists()
    assert export_annotations(store, str(tmp_path / "n.parquet"), judgement="negative")["annotations"] == 1
    with pytest.raises(Invalid, match="expected all, positive"):
        export_annotations(store, str(tmp_path / "m.parquet"), judgement="maybe")


def test_a_combined_table_counts_through_all_recordings(store: str, tmp_path: Path) -> None:
    """Also through the one in between that has no annotation: Raven opens the whole sequence."""
    seeded(store)
    target = tmp_path / "all.selections.txt"
    export_annotations(store, str(target))
    lines = [line.split("\t") for line in target.read_text().splitlines()[1:]]
    assert [(line[12], float(line[3]), float(line[13])) for line in lines] == [
        (A, 1, 1),
        (A, 6, 6),
        (B, 3 * 13.25 + 5, 5),
    ]
    assert {float(line[6]) for line in lines} == {900.0}


def test_an_export_says_its_format_by_its_name_or_not_at_all(store: str, tmp_path: Path) -> None:
    seeded(store)
    assert export_annotations(store, str(tmp_path / "hoplite_annotations.csv"))["format"] == "hoplite"
    for name in ("x.csv", "x.txt", "x"):
        with pytest.raises(Invalid, match=f"give --format {', '.join(FORMATS)}"):
            export_annotations(store, str(tmp_path / name))
    with pytest.raises(Invalid, match="several files; give a folder"):
        export_annotations(store, str(tmp_path / "x.csv"), format="pamdp")
    with pytest.raises(Invalid, match="holds one recording, and these are 2"):
        export_annotations(store, str(tmp_path / "x.txt"), format="audacity")
    assert (
        export_annotations(store, str(tmp_path / "x.txt"), format="audacity", recording="site1/*")["annotations"] == 1
    )


def test_an_export_overwrites_nothing_unless_asked(store: str, tmp_path: Path) -> None:
    """The folder may hold the very tables that were imported, with all that this program does not keep of them."""
    seeded(store)
    mine = write(tmp_path, "tables/site1/20240501_050000.Table.1.selections.txt", "drawn by hand")
    with pytest.raises(Conflict, match="is there already"):
        export_annotations(store, str(tmp_path / "tables"), format="raven")
    assert mine.read_text() == "drawn by hand"
    assert not (tmp_path / "tables" / "site0").exists(), "nothing else is written either"
    assert len(export_annotations(store, str(tmp_path / "tables"), format="raven", overwrite=True)["files"]) == 2
    assert mine.read_text().startswith("Selection\t")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_place_that_cannot_be_written_to_says_so(store: str, tmp_path: Path) -> None:
    seeded(store)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written to"):
        export_annotations(store, str(tmp_path / "file" / "x.parquet"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_there_must_be_something_to_export(store: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing to write"):
        export_annotations(store, str(tmp_path / "x.parquet"))
    seeded(store)
    with pytest.raises(NotFound, match="nothing to write"):
        export_annotations(store, str(tmp_path / "x"), format="audacity", label="wren")


def test_one_judgement_is_added_by_hand(store: str) -> None:
    done = add_annotation(store, "D:\\rec\\site0\\20240501_040000.wav", 1, 2, " owl ", annotator="Ana")
    assert (done["batch"], done["added"], done["path"], done["label"]) == (1, 1, A, "owl")
    assert add_annotation(store, A, 1, 2, "owl", annotator="Ana")["already_there"] == 1
    assert rows(store, "provenance") == [("by hand",)]


def test_a_window_s_padding_is_cut_and_a_span_beyond_is_refused(store: str) -> None:
    with open_archive(store) as archive:
        windows = archive.sql("SELECT start_s, end_s FROM windows WHERE path = ? ORDER BY start_s", [A]).to_pylist()
    last = windows[-1]
    assert last["end_s"] > 13.25, "the last window is padded"
    assert add_annotation(store, A, last["start_s"], last["end_s"], "owl", annotator="Ana")["end_s"] == 13.25
    for start_s, end_s in ((13.25, 14), (1, 40), (20, 30)):
        with pytest.raises(Invalid, match=r"lasts 13\.250 s"):
            add_annotation(store, A, start_s, end_s, "owl", annotator="Ana")
    with pytest.raises(NotFound, match="did you mean"):
        add_annotation(store, "site0/20240501_040001.wav", 1, 2, "owl", annotator="Ana")


def test_lists_are_narrowed_and_names_that_are_not_there_have_near_ones(store: str) -> None:
    seeded(store)
    assert [r[0] for r in rows(store, "start_s")] == [1, 3, 6, 2, 5], "by recording and time"
    assert rows(store, "start_s", label="owl") == [(1,), (3,)]
    assert rows(store, "start_s", annotator="Ben") == [(6,), (2,)]
    assert rows(store, "start_s", judgement="uncertain") == [(2,)]
    assert rows(store, "start_s", recording="site1/*") == [(2,), (5,)]
    assert rows(store, "start_s", recording="site?/20240501_04*", label="owl", judgement="negative") == [(3,)]
    assert rows(store, "start_s", label="a_b", judgement="negative") == []
    for only, words in (
        ({"label": "owls"}, "the label 'owls'; did you mean owl"),
        ({"annotator": "ana"}, "the annotator 'ana'; did you mean Ana"),
        ({"recording": "site9/*"}, "the recording 'site9/\\*'"),
        ({"recording": "site[01]/*"}, "the recording"),
    ):
        with pytest.raises(NotFound, match=words):
            rows(store, "start_s", **only)


def test_labels_are_counted(store: str) -> None:
    assert annotation_labels(store) == []
    seeded(store)
    assert [tuple(row.values()) for row in annotation_labels(store)] == [
        ("=1+1", 1, 0, 0, 1, 1),
        ("a_b", 1, 0, 0, 1, 1),
        ("owl", 1, 1, 0, 1, 1),
        ("wren", 0, 0, 1, 1, 1),
    ]
    assert list(annotation_labels(store)[0]) == [
        "label",
        "positive",
        "negative",
        "uncertain",
        "annotators",
        "recordings",
    ]


def test_an_import_is_taken_back_whole(store: str, tmp_path: Path) -> None:
    seeded(store)
    table = write(tmp_path, "x.csv", f"{HOPLITE}{A},1,2,fox,positive\n{B},1,2,fox,positive\n")
    batch = import_tables(store, [str(table)], ANA)["batch"]
    assert undo_annotations(store, batch=batch, annotator="Ben")["undone"] == 2
    assert len(rows(store)) == 5
    assert annotation_events(store)["event"].to_pylist() == ["add"] * 7 + ["undo"] * 2
    assert undo_annotations(store, last=True, annotator="Ben", of_annotator="Ben")["undoes"] == 4


def test_annotations_are_a_view_and_a_filter_of_the_archive(store: str) -> None:
    """Read afresh at each query, and by the same overlap rule as everywhere."""
    with open_archive(store) as archive:
        count = "SELECT count(*) AS n FROM annotations"
        assert archive.sql(count)["n"][0].as_py() == 0
        seeded(store)
        assert archive.sql(count)["n"][0].as_py() == 5
        length = archive.config.model.window_s
        everything = archive.windows().select(["path", "start_s", "end_s"]).to_pylist()
        for wanted in (
            SearchFilter(annotation_label="owl"),
            SearchFilter(judgement="negative"),
            SearchFilter(annotated=True),
        ):
            found = {(w["path"], w["start_s"]) for w in archive.windows(wanted).to_pylist()}
            marks = rows(store, "path", "start_s", "end_s", label=wanted.annotation_label, judgement=wanted.judgement)
            expected = {
                (w["path"], w["start_s"])
                for w in everything
                for path, start_s, end_s in marks
                if path == w["path"] and min(end_s, w["end_s"]) - max(start_s, w["start_s"]) > 1e-6
            }
            assert found == expected
            assert 0 < len(found) < len(everything)
        assert length > 0


def test_somebody_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_annotator()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("no such user")))
    assert default_annotator() == "unknown"
