"""pamDP: three linked tables with the standard's columns, stable ids, and nothing claimed that is not known."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings

from store.formats import Facts, write_pamdp
from store.formats.pamdp import observation_kind
from tests.exports import kit

STANDARD = {  # names of recordings_and_labels 5.4
    "deployments.csv": (
        "deploymentID locationID locationName latitude longitude deploymentStart deploymentEnd recorderID recorderModel "
        "recorderHeight recorderConfiguration habitat timestampIssues"
    ),
    "media.csv": (
        "mediaID deploymentID timestamp filePath fileName fileMediatype sampleRate bitDepth fileLength numChannels"
    ),
    "observations.csv": (
        "observationID deploymentID mediaID eventID observationLevel observationType scientificName classificationMethod "
        "classifiedBy classificationTimestamp classificationProbability"
    ),
}


def export(folder, found, made, **options):
    folder.mkdir(exist_ok=True)
    written = write_pamdp(kit.detections(found, made, **options), folder)
    return written, *(kit.read_csv(folder / name) for name in STANDARD)


def test_the_standards_columns_are_there(tmp_path):
    written, *tables = export(tmp_path / "p", [kit.row("A/rec0.wav")], [kit.recording(0)])
    assert (written.rows, written.files, written.notes) == (1, 3, ())
    for (name, columns), table in zip(STANDARD.items(), tables, strict=True):
        found = list(table[0])
        assert set(columns.split()) <= set(found), name
        assert len(found) == len(set(found))


def test_values_of_one_observation(tmp_path):
    made = [kit.recording(0, duration_s=10.0), kit.recording(5, duration_s=7200.0, deployment=None)]
    _, deployments, media, observations = export(tmp_path / "p", [kit.row("A/rec0.wav", 9, score=0.25)], made)
    (place,) = deployments
    assert (place["deploymentID"], place["locationID"], place["latitude"], place["longitude"]) == (
        "A",
        "A",
        "48.8",
        "2.3",
    )
    assert place["deploymentStart"] == "2024-05-01T04:30:00.000+02:00"
    assert place["deploymentEnd"] == "2024-05-01T11:30:00.000+02:00"
    assert (place["recorderID"], place["recorderModel"], place["timestampIssues"]) == ("24F3", "AudioMoth", "")
    assert place["recorderConfiguration"] == "sample rate 48000 Hz"
    first = media[0]
    assert (first["mediaID"], first["deploymentID"], first["filePath"], first["fileName"]) == (
        "1000",
        "A",
        "A/rec0.wav",
        "rec0.wav",
    )
    assert first["timestamp"] == "2024-05-01T04:30:00.000+02:00"
    assert (first["fileMediatype"], first["sampleRate"], first["bitDepth"]) == ("audio/wav", "48000", "16")
    assert (first["fileLength"], first["numChannels"]) == ("10", "1")
    (one,) = observations
    assert one["observationID"].startswith("1000-9000-")
    assert (one["mediaID"], one["deploymentID"], one["eventID"]) == ("1000", "A", "1000-9000")
    assert (one["observationLevel"], one["observationType"], one["scientificName"]) == (
        "media",
        "animal",
        "Strix aluco",
    )
    assert (one["classificationMethod"], one["classifiedBy"]) == ("machine", "tiny 1.2")
    assert (one["classificationProbability"], one["bboxTime"], one["bboxDuration"]) == ("0.25", "9", "1")
    assert one["classificationTimestamp"] == ""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kit.archives())
def test_keys_are_unique_and_lead_somewhere(tmp_path_factory, archive):
    made, found = archive
    made = [one | {"deployment": [None, "d1", "d2"][i % 3]} for i, one in enumerate(made)]
    _, deployments, media, observations = export(tmp_path_factory.mktemp("p") / "p", found, made, block=3)
    places = [d["deploymentID"] for d in deployments]
    files = {m["mediaID"]: m for m in media}
    assert len(places) == len(set(places))
    assert len(files) == len(media) == len(made)
    assert len({o["observationID"] for o in observations}) == len(observations) == len(found)
    assert {m["deploymentID"] for m in media} == set(places)
    for one in observations:
        assert one["deploymentID"] == files[one["mediaID"]]["deploymentID"]


def test_ids_do_not_depend_on_what_else_is_exported(tmp_path):
    made = [kit.recording(0), kit.recording(1)]
    found = [kit.row("A/rec0.wav", 0, label) for label in kit.LABELS] + [kit.row("A/rec1.wav", 3)]
    _, _, _, every = export(tmp_path / "all", found, made)
    _, _, _, some = export(tmp_path / "some", [found[2], found[4]], made)
    ids = {(o["mediaID"], o["bboxTime"], o["classificationProbability"], o["observationID"]) for o in every}
    assert {(o["mediaID"], o["bboxTime"], o["classificationProbability"], o["observationID"]) for o in some} <= ids


def test_recordings_without_an_id_get_one_from_their_path(tmp_path):
    made = [kit.recording(0, recording_id=None), kit.recording(1, recording_id=None)]
    _, _, media, _ = export(tmp_path / "a", [], made)
    _, _, again, _ = export(tmp_path / "b", [], made[1:])
    assert len({m["mediaID"] for m in media}) == 2
    assert again[0]["mediaID"] == media[1]["mediaID"]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Strix aluco_Tawny Owl", ("animal", "Strix aluco")),
        ("Poecile atricapillus", ("animal", "Poecile atricapillus")),
        ("Corvus corone cornix_Hooded Crow", ("animal", "Corvus corone cornix")),
        ("Engine_Engine", ("vehicle", None)),
        ("Human vocal_Human vocal", ("human voice", None)),
        ("Human non-vocal_Human non-vocal", ("unknown", None)),
        ("Dog_Dog", ("unknown", None)),
        ("Power tools_Power tools", ("unknown", None)),
        ("rain", ("rain", None)),
        ("=1+1", ("unknown", None)),
        ("", ("unknown", None)),
    ],
)
def test_only_a_species_is_given_a_scientific_name(label, kind):
    assert observation_kind(label) == kind


def test_a_sound_that_is_no_species_keeps_its_label(tmp_path):
    _, _, _, (one,) = export(tmp_path / "p", [kit.row("A/rec0.wav", label="Engine_Engine")], [kit.recording(0)])
    assert (one["observationType"], one["scientificName"], one["observationTags"]) == (
        "vehicle",
        "",
        "label:Engine_Engine",
    )


def test_what_the_standard_requires_and_is_not_known_is_noted(tmp_path):
    made = [
        kit.recording(0, latitude=None, longitude=None, utc_start=None),
        kit.recording(1, utc_start=None, local_start=None, time_issues=["impossible"], site="B"),
    ]
    written, deployments, media, _ = export(tmp_path / "p", [], made)
    assert "1 of 2 recordings have no coordinates" in written.notes[0]
    assert "2 of 2" in written.notes[1]
    assert [d["timestampIssues"] for d in deployments] == ["unknown timezone", "impossible; unknown time"]
    assert [m["timestamp"] for m in media] == ["2024-05-01T04:30:00.000", ""]
    assert deployments[1]["deploymentStart"] == ""


def test_several_recorders_and_formats_of_a_deployment(tmp_path):
    made = [
        kit.recording(0, deployment="d", serial="1", container="FLAC", codec="PCM_24", sample_rate_hz=96_000),
        kit.recording(1, deployment="d", serial="2", recorder=None, container="MP3", codec="MPEG_LAYER_III"),
        kit.recording(
            2, deployment="d", serial=None, container="??", local_start=datetime(2024, 4, 30), utc_start=None
        ),
    ]
    _, (place,), media, _ = export(tmp_path / "p", [], made)
    assert (place["recorderID"], place["recorderModel"]) == ("1, 2", "AudioMoth")
    assert place["recorderConfiguration"] == "sample rate 48000, 96000 Hz"
    assert place["deploymentStart"] == "2024-04-30T00:00:00.000"
    assert [(m["fileMediatype"], m["bitDepth"]) for m in media] == [
        ("audio/flac", "24"),
        ("audio/mpeg", ""),
        ("", "16"),
    ]


def test_a_model_without_a_name_is_not_made_up(tmp_path):
    _, _, _, (one,) = export(tmp_path / "p", [kit.row("A/rec0.wav")], [kit.recording(0)], facts=Facts())
    assert one["classifiedBy"] == ""
