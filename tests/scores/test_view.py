"""The view ``scores``: of the versions in use, live rows once, as they are at the moment of the question."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.scoring import score_snapshot
from sonotheque.core.errors import Damaged
from store import Archive, layout, read_config, read_snapshot
from store.care import compact
from store.probes import ProbeStore
from store.scores import HeldScores
from tests.ask import worlds
from tests.scores import kit
from tests.scores.kit import check_scores, keep, probe, snap, some_probes, twin


def score(root, probes, **options):
    return score_snapshot(root, read_snapshot(root), probes, **options)


def all_rows(archive):
    return archive.sql("SELECT * FROM scores").to_pylist()


def test_before_anything_it_is_empty_and_has_its_columns(store):
    with Archive(store) as archive:
        assert all_rows(archive) == []
        keep(store, probe())
        assert all_rows(archive) == [], "trained, and not applied"


def test_the_versions_in_use(store):
    probes = [keep(store, p) for p in some_probes()]
    newer = keep(store, probe("owl", seed=5), promote=False)
    score(store, [*probes, newer])
    with Archive(store) as archive:
        check_scores(all_rows(archive), twin(archive, probes))
        ProbeStore(store).promote("owl", newer.version, "test")
        (
            check_scores(all_rows(archive), twin(archive, [newer, *probes[1:]])),
            "of this moment, in an archive that is open",
        )
        ProbeStore(store).promote("owl", 1, "test")
        check_scores(all_rows(archive), twin(archive, probes))


def test_places_and_times_are_those_of_the_windows(tmp_path):
    """Sites with odd names, midnight, the change of the clocks, recordings without a time."""
    root, config, items = worlds.new_world(tmp_path, sites=4, months=(5, 10))
    one = keep(root, probe(classes=("hoot",)))
    score(root, [one], floor=0.0)
    expected = {(w["path"], w["start_sample"]): w for w in worlds.windows(items, config)}
    with Archive(root) as archive:
        rows = all_rows(archive)
        assert len(rows) == archive.snapshot.live_rows == len(expected)
        for row in rows:
            want = expected[row["path"], row["start_sample"]]
            assert {k: row[k] for k in row if k in want} == {k: want[k] for k in row if k in want}
        by_hour = archive.sql(
            "SELECT hour, count(*) FROM scores WHERE probe = 'owl' AND score >= 0.5 GROUP BY hour ORDER BY hour"
        )
        assert by_hour.num_rows > 1
        joined = archive.sql("SELECT count(*) AS n FROM scores s JOIN predictions p USING (recording_id, start_sample)")
        assert joined["n"][0].as_py() == config.top_k * len(rows)


def test_superseded_rows_are_not_there(store):
    """Also those of a window that is live in another part."""
    one = keep(store, probe(classes=("hoot",)))
    score(store, [one], floor=0.0)
    with Archive(store) as archive:
        rows = all_rows(archive)
        assert len(rows) == 3 + 4 + 4 and sum(r["path"] == "A/1.wav" for r in rows) == 4
        check_scores(rows, twin(archive, [one], 0.0), 0.0)


def test_a_snapshot_sees_its_own_parts(store):
    one = keep(store, probe())
    score(store, [one])
    with Archive(store) as before:
        kit.commit(store, read_config(store), ("C/1.wav", 1, 6), site="C")
        snap(store)
        score(store, [one])
        compact(store)
        check_scores(all_rows(before), twin(before, [one]))
    with Archive(store) as after:
        rows = all_rows(after)
        assert {r["site"] for r in rows} <= {"A", "B", "C"}
        expected = {k: v for k, v in twin(after, [one]).items() if k[0] not in ("A/1.wav", "A/2.wav")}
        check_scores(rows, expected), "compacted parts are not scored yet: their rows are missing, never doubled"
        score(store, [one])
        check_scores(all_rows(after), twin(after, [one]))


def test_several_sets_and_floors_count_each_window_once(store):
    probes = [keep(store, p) for p in some_probes()]
    parts = read_snapshot(store).parts
    score(store, probes[:2], floor=0.5)
    score(store, probes[1:], floor=0.2, parts=parts[:2])
    score(store, probes, floor=0.01)
    score(store, probes[:1], floor=0.0, parts=parts[1:])
    with Archive(store) as archive:
        rows = [r for r in all_rows(archive) if r["score"] >= 0.01]
        check_scores(rows, twin(archive, probes))


def test_a_probe_folder_that_was_replaced_by_another(store):
    import shutil

    old = keep(store, probe(seed=1))
    score(store, [old])
    shutil.rmtree(f"{store}/{layout.probe_folder('owl')}")
    new = keep(store, probe(seed=2))
    with Archive(store) as archive:
        assert all_rows(archive) == [], "scores of another probe that had this name and number"
        score(store, [new])
        check_scores(all_rows(archive), twin(archive, [new]))


def test_words_in_quotes_name_no_view(store):
    """A damaged set hinders no question but those about scores."""
    score(store, [keep(store, probe())])
    (name,) = HeldScores(store).sets
    path = Path(store, layout.score_set(name))
    path.unlink()
    path.write_text("{")
    with Archive(store) as archive:
        assert archive.sql("SELECT 'scores' AS word FROM windows LIMIT 1")["word"].to_pylist() == ["scores"]
        with pytest.raises(Damaged, match="remove the folder"):
            all_rows(archive)


def test_a_damaged_file_says_what_to_remove(store):
    score(store, [keep(store, probe())])
    (name,) = HeldScores(store).sets
    path = sorted(Path(store, "scores", name).glob("*.parquet"))[0]
    path.unlink()
    path.write_bytes(b"PAR1 no more")
    with (
        Archive(store) as archive,
        pytest.raises(Damaged, match=f"{path.name} cannot be read. They are derived: remove the file"),
    ):
        all_rows(archive)


def test_a_store_below_a_folder_with_an_equals_sign(tmp_path):
    root = kit.small(tmp_path / "site=x" / "date=1")
    one = keep(root, probe())
    score(root, [one])
    with Archive(root) as archive:
        check_scores(all_rows(archive), twin(archive, [one]))
