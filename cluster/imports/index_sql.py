"""The queries of the index. Pure text; ``summed`` has a row for each key, ``ordered`` and ``planned`` one for each recording."""

from __future__ import annotations

from typing import Final

MAKE: Final = (
    "CREATE TABLE names (key BIGINT, name VARCHAR, grp BIGINT, note VARCHAR)",
    "CREATE TABLE rows (key BIGINT, start BIGINT, valid BIGINT, place BIGINT, mark BIGINT)",
    "CREATE TABLE described (key BIGINT, recording BIGINT, path VARCHAR, site VARCHAR, date VARCHAR, audio_s DOUBLE, "
    "stop BIGINT, text VARCHAR)",
)

HOP: Final = """
SELECT mode(hop) FROM (
    SELECT start - lag(start) OVER (PARTITION BY key ORDER BY start) AS hop FROM (SELECT DISTINCT key, start FROM rows)
) WHERE hop > 0
"""

SUMMED: Final = """
CREATE TABLE summed AS
SELECT row_number() OVER (ORDER BY n.key, n.name) - 1 AS n, n.key, n.name, n.grp, n.note,
    coalesce(r.rows, 0) AS rows, coalesce(r.stop, 0) AS stop
FROM (SELECT key, name, max(grp) AS grp, first(note ORDER BY grp DESC) AS note FROM names GROUP BY key, name) n
LEFT JOIN (SELECT key, count(*) AS rows, max(start + valid) AS stop FROM rows GROUP BY key) r ON r.key = n.key
"""

SAME_KEY: Final = "SELECT min(name), max(name) FROM summed GROUP BY key HAVING count(*) > 1 LIMIT 1"

SAME_ID: Final = """
SELECT min(path), max(path) FROM described GROUP BY recording HAVING count(DISTINCT path) > 1 LIMIT 1
"""

SAME_PATH: Final = """
SELECT d.path, min(s.note || s.name), max(s.note || s.name)
FROM described d JOIN summed s USING (key)
GROUP BY d.recording, d.path HAVING count(DISTINCT s.grp) FILTER (s.grp >= 0) > 1 ORDER BY d.path LIMIT 1
"""

# Of several keys of one recording, the one that belongs to a group speaks, then the smallest.
ORDERED: Final = """
CREATE TABLE ordered AS
SELECT row_number() OVER (ORDER BY site, date, path) - 1 AS number, * FROM (
    SELECT recording, path, first(site ORDER BY s.grp DESC, key) AS site, first(date ORDER BY s.grp DESC, key) AS date,
        first(text ORDER BY s.grp DESC, key) AS text, first(name ORDER BY s.grp DESC, key) AS name,
        first(audio_s ORDER BY s.grp DESC, key) AS audio_s, first(d.stop ORDER BY s.grp DESC, key) AS stop,
        sum(s.rows)::BIGINT AS source_rows
    FROM described d JOIN summed s USING (key) GROUP BY recording, path
)
"""

JOINED: Final = """
SELECT o.number, r.start, least(r.valid, coalesce(o.stop - r.start, r.valid)) AS valid, r.place, r.mark
FROM rows r JOIN described d USING (key) JOIN ordered o USING (recording)
"""

LEFT_OUT: Final = f"""
SELECT count(*) FILTER (valid > 0 AND valid < $least), count(*) FILTER (valid <= 0) FROM ({JOINED})
"""

WINDOWS: Final = f"""
CREATE TABLE windows AS SELECT * FROM ({JOINED}) WHERE valid >= $least ORDER BY number, start, place
"""

PLANNED: Final = """
CREATE TABLE planned AS
SELECT o.number, o.recording, o.path, o.site, o.date, o.text, o.name, o.source_rows, coalesce(w.rows, 0) AS rows,
    coalesce(w.windows, 0) AS windows, coalesce(w.stop, 0) AS stop, coalesce(w.fingerprint, '') AS fingerprint, o.audio_s
FROM ordered o LEFT JOIN (
    SELECT number, count(*) AS rows, count(DISTINCT start) AS windows, max(start + valid) AS stop,
        md5(string_agg(concat_ws(':', start, valid, mark), ',' ORDER BY start, place)) AS fingerprint
    FROM windows GROUP BY number
) w USING (number) ORDER BY o.number
"""

TOTALS: Final = """
SELECT count(*), coalesce(sum(windows), 0)::BIGINT, coalesce(sum(rows), 0)::BIGINT, coalesce(sum(audio_s), 0.0) FROM planned
"""

PLANNED_COLUMNS: Final = (
    "number, recording, path, site, date, text, name, source_rows, rows, windows, stop, fingerprint"
)
