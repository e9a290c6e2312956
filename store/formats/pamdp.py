"""pamDP: deployments, media and observations as linked tables, the road to GBIF."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import polars as pl

from store.formats.detections import Detections, Written
from store.formats.text import local_iso, rounded, short_digest, write_csv


def _columns(names: str) -> tuple[str, ...]:
    return tuple(names.split())


DEPLOYMENTS: Final = _columns(
    "deploymentID locationID locationName latitude longitude coordinateUncertainty deploymentStart deploymentEnd setupBy "
    "recorderID recorderModel recorderDelay recorderHeight recorderDepth recorderTilt recorderHeading recorderConfiguration "
    "detectionDistance timestampIssues baitUse featureType habitat deploymentGroups deploymentTags deploymentComments"
)
MEDIA: Final = _columns(
    "mediaID deploymentID captureMethod timestamp filePath filePublic fileName fileMediatype sampleRate bitDepth fileLength "
    "numChannels favorite mediaComments"
)
OBSERVATIONS: Final = _columns(
    "observationID deploymentID mediaID eventID observationLevel observationType scientificName count lifeStage sex behavior "
    "vocalActivity individualID individualPositionRadius bboxTime bboxFrequency bboxDuration bboxBandwidth "
    "classificationMethod classifiedBy classificationTimestamp classificationProbability observationTags observationComments"
)
_MEDIATYPES: Final = {
    "WAV": "audio/wav",
    "WAVEX": "audio/wav",
    "RF64": "audio/wav",
    "W64": "audio/wav",
    "FLAC": "audio/flac",
    "OGG": "audio/ogg",
    "MP3": "audio/mpeg",
    "AIFF": "audio/aiff",
}
_BITS: Final = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "FLOAT": 32,
    "DOUBLE": 64,
    "ALAW": 8,
    "ULAW": 8,
}
_BINOMIAL: Final = re.compile(r"[A-Z][a-z]+(?:-[a-z]+)? (?:[a-z]+-?)+(?: .*)?")
_SOUNDS: Final = {
    "human vocal": "human voice",
    "speech": "human voice",
    "engine": "vehicle",
    "vehicle": "vehicle",
    "rain": "rain",
    "wind": "wind",
    "silence": "silence",
}


def write_pamdp(detections: Detections, folder: Path) -> Written:
    """Write ``deployments.csv``, ``media.csv`` and ``observations.csv``.

    Ids follow from what they name, so that two exports agree: a medium's from its recording, an observation's from its
    medium, its start and its label. Recordings that belong to no deployment form one for each site. A deployment lasts from
    the start of its first to the end of its last recording here.

    Parameters
    ----------
    detections : Detections
        Of recordings with ``site``; the others count as of the site ``unknown``.
    folder : Path
        There, and empty.
    """
    recordings = _with_ids(detections.recordings)
    with (folder / "deployments.csv").open("xb") as handle:
        write_csv(_deployments(recordings), handle, header=True)
    with (folder / "media.csv").open("xb") as handle:
        write_csv(_media(recordings), handle, header=True)
    ids = recordings.select("order", "mediaID", "deploymentID")
    classifier = f"{detections.facts.model} {detections.facts.version}".strip()
    kinds: dict[str, tuple[str, str | None, str]] = {}
    rows = 0
    with (folder / "observations.csv").open("xb") as handle:
        handle.write((",".join(OBSERVATIONS) + "\n").encode())
        for frame in detections.frames():
            placed = frame.join(ids, on="order", how="left", maintain_order="left")
            write_csv(_observations(placed, classifier, kinds), handle, header=False)
            rows += frame.height
    return Written(rows, 3, _notes(recordings))


def observation_kind(label: str) -> tuple[str, str | None]:
    """Return a label's ``observationType`` and ``scientificName``: only what looks like a species is called one.

    >>> observation_kind("Strix aluco_Tawny Owl")
    ('animal', 'Strix aluco')
    >>> observation_kind("Engine_Engine")
    ('vehicle', None)
    """
    scientific, _, common = label.partition("_")
    if _BINOMIAL.fullmatch(scientific) and scientific != common:
        return "animal", scientific
    return _SOUNDS.get(scientific.lower(), "unknown"), None


def _with_ids(recordings: pl.DataFrame) -> pl.DataFrame:
    named = pl.coalesce(
        pl.col("recording_id").cast(pl.String),
        pl.col("path").map_elements(lambda path: f"p{short_digest(path)}{short_digest(path[::-1])}", pl.String),
    )
    site = pl.col("site").fill_null("unknown")
    return recordings.with_columns(
        mediaID=named, locationID=site, deploymentID=pl.coalesce("deployment", site)
    ).with_columns(
        end_local=pl.col("local_start") + _duration(),
        end_utc=pl.col("utc_start") + _duration(),
    )


def _duration() -> pl.Expr:
    return (pl.col("duration_s").fill_null(0.0) * 1e6).round().cast(pl.Int64).cast(pl.Duration("us"))


def _deployments(recordings: pl.DataFrame) -> pl.DataFrame:
    def all_of(column: str) -> pl.Expr:
        return pl.col(column).drop_nulls().cast(pl.String).unique().sort().str.join(", ")

    issues = pl.concat_str(
        [
            pl.when(pl.col("time_issues") != "").then("time_issues"),
            pl.when(pl.col("local_start").is_null()).then(pl.lit("unknown time")),
            pl.when(pl.col("local_start").is_not_null() & pl.col("utc_start").is_null()).then(
                pl.lit("unknown timezone")
            ),
        ],
        separator="; ",
        ignore_nulls=True,
    )
    times = recordings.with_columns(
        start=local_iso(), end=local_iso("end_local", "end_utc"), issue=pl.when(issues != "").then(issues)
    )
    grouped = times.group_by("deploymentID", maintain_order=True).agg(
        all_of("locationID").alias("locationID"),
        pl.col("latitude").drop_nulls().first(),
        pl.col("longitude").drop_nulls().first(),
        pl.col("start").sort_by("local_start", nulls_last=True).first().alias("deploymentStart"),
        pl.col("end").sort_by("end_local", descending=True, nulls_last=True).first().alias("deploymentEnd"),
        all_of("serial").alias("recorderID"),
        all_of("recorder").alias("recorderModel"),
        (pl.lit("sample rate ") + all_of("sample_rate_hz") + pl.lit(" Hz")).alias("recorderConfiguration"),
        all_of("issue").alias("timestampIssues"),
    )
    return _complete(grouped.with_columns(locationName=pl.col("locationID")), DEPLOYMENTS)


def _media(recordings: pl.DataFrame) -> pl.DataFrame:
    made = recordings.with_columns(
        timestamp=local_iso(),
        filePath=pl.col("path"),
        fileName=pl.col("path").str.replace(r"^.*/", ""),
        fileMediatype=pl.col("container").replace_strict(_MEDIATYPES, default=None, return_dtype=pl.String),
        sampleRate=pl.col("sample_rate_hz"),
        bitDepth=pl.col("codec").replace_strict(_BITS, default=None, return_dtype=pl.Int64),
        fileLength=rounded("duration_s"),
        numChannels=pl.col("channels"),
    )
    return _complete(made, MEDIA)


def _observations(frame: pl.DataFrame, classifier: str, kinds: dict[str, tuple[str, str | None, str]]) -> pl.DataFrame:
    for label in frame["label"].unique():
        if label not in kinds:
            kinds[label] = (*observation_kind(label), short_digest(label))
    known = pl.DataFrame(
        [(label, *values) for label, values in kinds.items()],
        schema={"label": pl.String, "observationType": pl.String, "scientificName": pl.String, "mark": pl.String},
        orient="row",
    )
    event = pl.concat_str(["mediaID", pl.lit("-"), (pl.col("start_s") * 1000).round().cast(pl.Int64).cast(pl.String)])
    named = frame.join(known, on="label", how="left", maintain_order="left").with_columns(eventID=event)
    made = named.with_columns(
        observationID=pl.concat_str(["eventID", pl.lit("-"), "mark"]),
        observationLevel=pl.lit("media"),
        bboxTime=rounded("start_s"),
        bboxFrequency=pl.col("low_hz"),
        bboxDuration=(pl.col("end_cut_s") - pl.col("start_s")).round(6),
        bboxBandwidth=pl.col("high_hz") - pl.col("low_hz"),
        classificationMethod=pl.lit("machine"),
        classifiedBy=pl.lit(classifier or None, pl.String),
        classificationProbability=rounded("score"),
        observationTags=pl.when(pl.col("scientificName").is_null()).then(pl.lit("label:") + pl.col("label")),
    )
    return _complete(made, OBSERVATIONS)


def _complete(frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    return frame.select(c if c in frame.columns else pl.lit(None, pl.String).alias(c) for c in columns)


def _notes(recordings: pl.DataFrame) -> tuple[str, ...]:
    """Say what the standard requires and the store does not know."""
    notes = []
    for what, column in (("coordinates", "latitude"), ("a time with its offset from UTC", "utc_start")):
        if lost := recordings[column].null_count():
            notes.append(
                f"{lost:,} of {recordings.height:,} recordings have no {what.removeprefix('a ')}, which pamDP requires"
            )
    return tuple(notes)
