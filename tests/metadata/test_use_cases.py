"""The use cases' promises that the terminal does not show: races, faults, what is told of an undo, how much is read."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

import store.metadata.log as log
from search_api.metadata import change_clock, change_site, history, import_deployments, show, undo_change
from sonotheque.core.errors import NotFound, Unavailable
from store.metadata import ClockChange, Scope, SiteChange, latest_metadata, read_metadata, write_change
from tests.store import kit

RENAMED = SiteChange("moth", rename="Kew")


@pytest.fixture
def rival(store, monkeypatch):
    """Somebody else writes a change between the look and the link."""

    def arm(change):
        put = log.put_new

        def late(*args):
            monkeypatch.setattr(log, "put_new", put)
            write_change(store, change, by="rival")
            return put(*args)

        monkeypatch.setattr(log, "put_new", late)

    return arm


def test_a_change_is_judged_by_what_holds_when_it_is_written(store, rival):
    rival(RENAMED)
    with pytest.raises(NotFound, match="no site 'moth'"):
        change_site(store, SiteChange("moth", zone="UTC"))
    assert [e.by for e in read_metadata(store).entries] == ["rival"]


def test_what_is_told_is_of_the_change_as_it_was_written(store, rival):
    rival(SiteChange("plain", rename="moth"))
    told = change_site(store, SiteChange("moth", latitude=1.0, longitude=2.0))
    assert (told.number, told.concerned, told.changed) == (2, 4, 4)


def test_a_dry_run_tells_what_the_change_tells(store):
    kept = kit.tree(store)
    for change in (RENAMED, SiteChange("meter", zone="Europe/Berlin", keep="instant")):
        dry = change_site(store, change, dry_run=True)
        assert kit.tree(store) == kept
        done = change_site(store, change)
        assert replace(done, number=0) == dry
        kept = kit.tree(store)
    assert latest_metadata(store) == 2


def test_an_undo_is_told_like_a_change(store):
    change_site(store, RENAMED)
    done = undo_change(store, 1)
    assert done.text == "change 1 taken back: site 'moth' is called 'Kew'"
    assert (done.concerned, done.changed, done.sites) == (2, 2, [{"site": "moth", "was": "Kew", "recordings": 2}])
    again = undo_change(store, 2)
    assert (again.text, again.changed) == ("change 2 taken back: change 1 taken back", 2)
    assert [c["undone"] for c in history(store)] == [False, True, False]


def test_sites_that_change_places_are_not_joined(store, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("deploymentID,site,folder\n1,moth,meter\n2,meter,moth\n")
    told = import_deployments(store, str(table))
    assert told.joined == [] and len(told.sites) == 2
    table.write_text("deploymentID,site,folder\n1,moth,meter\n2,moth,moth\n")
    assert import_deployments(store, str(table)).joined == [{"site": "moth", "recordings": 2, "joining": 2}]


def test_a_clock_can_bring_files_into_deployments(store, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("deploymentID,start,end\nmeter,2020-05-22,2020-05-22\n")
    told = import_deployments(store, str(table))
    assert told.match is not None and told.match.unused == ["meter"]
    told = change_clock(store, ClockChange(Scope(site="meter"), add_s=366 * 86_400.0))
    assert told.by_column["deployment"] == 1
    assert told.match is not None and told.match.matched == {"meter": 1}
    assert told.match.outside == {"no_deployment": 4, "outside_deployments": 1}


def test_two_zones_and_two_places_of_one_site_are_shown(store):
    change_site(store, SiteChange("moth", zone="Europe/Amsterdam", latitude=52.0, longitude=4.0))
    change_site(store, SiteChange("meter", rename="moth", latitude=47.0, longitude=5.0))
    site = show(store)[0]
    assert (site["zones"], site["places"], site["zone"]) == (2, 2, "Europe/Amsterdam")
    assert (site["latitude"], site["longitude"]) in ((52.0, 4.0), (47.0, 5.0))  # never one of each


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "read_only")])
def test_a_disk_that_cannot_take_it(store, monkeypatch, code, kind):
    def fail(*_):
        raise OSError(code, "no")

    monkeypatch.setattr(log, "put_new", fail)
    with pytest.raises(Unavailable) as caught:
        change_site(store, RENAMED)
    assert caught.value.kind == kind and latest_metadata(store) == 0
