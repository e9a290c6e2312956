"""Snippets and spectrograms over HTTP."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import numpy as np
import pytest
import soundfile as sf

from search_api.http.routes import listening
from tests.search import kit as archives
from tests.service import listening_kit as kit
from tests.service.conftest import serve

PATH = "north/20240501_040000.wav"


@pytest.fixture(scope="module")
def ids(made):
    rows = made.rows("SELECT recording_id, start_sample, path FROM windows ORDER BY path, start_sample")
    return {(r["path"], r["start_sample"] / archives.RATE_HZ): (r["recording_id"], r["start_sample"]) for r in rows}


@pytest.fixture(scope="module")
def window(ids):
    """The address of a window: from 2 to 4 s of a recording of 8 s."""
    return "/v1/windows/{}:{}".format(*ids[PATH, 2.0])


@pytest.fixture(scope="module")
def recording(ids):
    return f"/v1/recordings/{ids[PATH, 2.0][0]}"


@pytest.fixture(scope="module")
def whole(made):
    return sf.read(made.recordings / PATH, dtype="int16", always_2d=True)[0]


def ok(answer, status=200):
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    return answer


def test_a_windows_sound(served, window, whole):
    answer = ok(served.client.get(f"{window}/audio"))
    assert answer.headers["content-type"] == "audio/wav"
    assert np.array_equal(kit.read(answer.content, dtype="int16")[0], whole[32_000:64_000])
    assert (answer.headers["x-start-s"], answer.headers["x-end-s"], answer.headers["x-speed"]) == ("2", "4", "1")
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["accept-ranges"] == "bytes"
    assert 'filename="north_2024-05-01_04-00-02.wav"' in answer.headers["content-disposition"]


def test_options_of_sound(served, window, whole):
    answer = ok(served.client.get(f"{window}/audio?form=flac&margin_s=3&speed=0.5"))
    sound, rate = kit.read(answer.content, dtype="int16")
    assert answer.headers["content-type"] == "audio/flac" and rate == 8_000
    assert np.array_equal(sound, whole[: 7 * 16_000])  # there are two seconds before it, not three
    assert (answer.headers["x-start-s"], answer.headers["x-end-s"], answer.headers["x-speed"]) == ("0", "7", "0.5")
    louder = kit.read(ok(served.client.get(f"{window}/audio?normalise=peak&gain_db=-5")).content)[0]
    assert np.abs(louder).max() == pytest.approx(10 ** (-6 / 20), abs=1e-3)


def test_a_stretch_of_a_recording(served, recording, whole):
    answer = ok(served.client.get(f"{recording}/audio?from_s=1.5&to_s=3"))
    assert np.array_equal(kit.read(answer.content, dtype="int16")[0], whole[24_000:48_000])
    everything = ok(served.client.get(f"{recording}/audio"))
    assert np.array_equal(kit.read(everything.content, dtype="int16")[0], whole)


def test_parts_make_the_whole(served, window):
    address = f"{window}/audio?margin_s=0.5"
    data = ok(served.client.get(address)).content
    got, at = b"", 0
    for length in (1, 44, 7, 10_000, 20_000, 10**9):
        answer = ok(served.client.get(address, headers={"Range": f"bytes={at}-{at + length - 1}"}), 206)
        last = min(at + length, len(data)) - 1
        assert answer.headers["content-range"] == f"bytes {at}-{last}/{len(data)}"
        assert int(answer.headers["content-length"]) == len(answer.content) == last + 1 - at
        got, at = got + answer.content, last + 1
    assert got == data
    assert ok(served.client.get(address, headers={"Range": "bytes=-5"}), 206).content == data[-5:]


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_after_the_end(served, window, header):
    answer = ok(served.client.get(f"{window}/audio", headers={"Range": header}), 416)
    assert answer.headers["content-range"] == "bytes */64044"
    assert "64,044" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "header",
    ["bytes=0-0,-1", "bytes=" + ",".join(["0-"] * 500), "bytes=5-1", "bytes=-", "bytes=99999999999999999999-", "x=0-1"],
)
def test_ranges_that_are_not_one_range_give_the_whole(served, window, header):
    answer = ok(served.client.get(f"{window}/audio", headers={"Range": header}))
    assert len(answer.content) == 64_044


def test_a_range_of_the_version_that_the_caller_has(served, window):
    etag = ok(served.client.get(f"{window}/audio")).headers["etag"]
    assert etag.startswith('"')
    ok(served.client.get(f"{window}/audio", headers={"Range": "bytes=0-9", "If-Range": etag}), 206)
    ok(served.client.get(f"{window}/audio", headers={"Range": "bytes=0-9", "If-Range": '"other"'}), 200)


@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_what_the_caller_has_is_not_sent_again(served, window, what):
    answer = ok(served.client.get(f"{window}/{what}"))
    for header in (answer.headers["etag"], f'W/"x", {answer.headers["etag"]}', "*"):
        again = ok(served.client.get(f"{window}/{what}", headers={"If-None-Match": header, "Range": "bytes=0-1"}), 304)
        assert not again.content and again.headers["etag"] == answer.headers["etag"]
    ok(served.client.get(f"{window}/{what}", headers={"If-None-Match": '"other"'}))
    # Another piece, another tag.
    assert ok(served.client.get(f"{window}/{what}?margin_s=1.25")).headers["etag"] != answer.headers["etag"]


@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_head_is_get_without_the_bytes(served, window, what):
    got, head = ok(served.client.get(f"{window}/{what}")), ok(served.client.head(f"{window}/{what}"))
    assert not head.content
    for name in ("etag", "content-length", "content-type", "x-start-s", "cache-control"):
        assert head.headers[name] == got.headers[name]


def test_head_of_a_range(served, window):
    head = ok(served.client.head(f"{window}/audio", headers={"Range": "bytes=10-19"}), 206)
    assert head.headers["content-length"] == "10" and not head.content


def test_a_windows_picture(served, window):
    answer = ok(served.client.get(f"{window}/spectrogram"))
    assert answer.headers["content-type"] == "image/png"
    found = kit.pixels(answer.content)
    assert found.shape == (220, 400)
    said = [float(answer.headers[name]) for name in ("x-start-s", "x-end-s", "x-min-hz", "x-max-hz", "x-share")]
    assert said == [1.0, 5.0, 0.0, 8_000.0, 1.0]
    # The window's tone, with half a second of its neighbours' on both sides.
    middle = found[:, 110:290].astype(int).mean(axis=1)
    assert middle.argmax() == pytest.approx(220 * (1 - archives.TONES[PATH][1] / 8_000), abs=2)


def test_options_of_pictures(served, window):
    query = "width=120&height=90&margin_s=0&scale=mel&colormap=gray_r&range_db=50&min_hz=100&max_hz=4000&reference=background"
    answer = ok(served.client.get(f"{window}/spectrogram?{query}"))
    assert kit.pixels(answer.content).shape == (90, 120)
    assert (answer.headers["x-min-hz"], answer.headers["x-max-hz"]) == ("100", "4000")
    assert (answer.headers["x-start-s"], answer.headers["x-end-s"]) == ("2", "4")


def test_a_whole_recording_is_drawn(served, recording):
    answer = ok(served.client.get(f"{recording}/spectrogram?width=800&height=100"))
    assert (answer.headers["x-start-s"], answer.headers["x-end-s"]) == ("0", "8")
    found = kit.pixels(answer.content).astype(int)
    for number, hz in enumerate(archives.TONES[PATH]):
        loudest = found[:, number * 200 + 20 : number * 200 + 180].mean(axis=1).argmax()
        assert loudest == pytest.approx(100 * (1 - hz / 8_000), abs=2)


@pytest.mark.parametrize(
    "query",
    [
        "width=0",
        "width=4001",
        "width=99999999999999999999",
        "width=abc",
        "height=10",
        "margin_s=-1",
        "margin_s=31",
        "margin_s=nan",
        "range_db=inf",
        "min_hz=-5",
        "min_hz=3000&max_hz=2000",
        "min_hz=100000",
        "scale=log",
        "colormap=jet",
        "reference=x",
        "width=100&width=x",
    ],
)
def test_pictures_that_cannot_be(served, window, query):
    fault = ok(served.client.get(f"{window}/spectrogram?{query}"), 422).json()["error"]
    assert fault["kind"] == "invalid" and query.split("=")[0].split("&")[0] in fault["message"]


@pytest.mark.parametrize(
    "query", ["speed=0", "speed=nan", "speed=-1", "speed=1e9", "margin_s=30.5", "form=ogg", "gain_db=99"]
)
def test_sounds_that_cannot_be(served, window, query):
    ok(served.client.get(f"{window}/audio?{query}"), 422)


@pytest.mark.parametrize("query", ["from_s=8", "from_s=-1", "from_s=3&to_s=2", "from_s=nan", "to_s=0"])
@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_stretches_that_cannot_be(served, recording, what, query):
    ok(served.client.get(f"{recording}/{what}?{query}"), 422)


@pytest.mark.parametrize(
    "wanted",
    [
        "1:0",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "a:b",
        "1:-1",
        "1:0'--",
        "1:0\x00",
        "9" * 19 + ":0",
        PATH,
    ],
)
@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_ids_that_nothing_has(served, wanted, what, made):
    answer = served.client.get(f"/v1/windows/{quote(wanted, safe='%')}/{what}")
    assert answer.status_code in (404, 422)
    assert str(made.recordings) not in answer.text and "root:" not in answer.text
    assert served.client.get(f"/v1/recordings/{quote('x' + wanted, safe='%')}/{what}").status_code in (404, 422)


@pytest.fixture
def movable(made, tmp_path):
    """A service whose recordings a test may harm."""
    shutil.copytree(made.recordings, tmp_path / "recordings")
    shutil.copytree(made.store, tmp_path / "store")
    own = archives.Made(tmp_path / "recordings", str(tmp_path / "store"))
    with serve(own, tmp_path / "state", recordings=str(tmp_path / "recordings")) as found:
        yield found


@pytest.mark.parametrize("what", ["audio", "spectrogram"])
def test_recordings_that_are_not_what_they_were(movable, window, what):
    path = movable.made.recordings / PATH
    data = path.read_bytes()
    before = ok(movable.client.get(f"{window}/{what}")).headers["etag"]

    os.utime(path, ns=(0, 1))  # written again, the same size
    assert ok(movable.client.get(f"{window}/{what}")).headers["etag"] != before

    def refused(status, *words):
        fault = ok(movable.client.get(f"{window}/{what}"), status).json()["error"]
        assert all(word in fault["message"] for word in words), fault
        assert str(movable.made.recordings) not in fault["message"] and PATH in fault["message"]

    path.write_bytes(data[: len(data) // 2])
    refused(409, "embed it again")
    path.write_bytes(bytes(len(data)))
    refused(500, "unreadable")
    path.unlink()
    refused(404, "--recordings")
    path.symlink_to("/etc/passwd")
    refused(404, "link")
    path.unlink()
    path.write_bytes(data)
    ok(movable.client.get(f"{window}/{what}"))


def test_many_at_once_get_the_same(served, window):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.client.get(f"{window}/spectrogram?width=333"), range(24)))
    assert {a.status_code for a in answers} == {200} and len({a.content for a in answers}) == 1


def test_pictures_outlive_the_service(made, tmp_path, window):
    with serve(made, tmp_path / "state") as first:
        data = ok(first.client.get(f"{window}/spectrogram?width=222")).content
    assert any((tmp_path / "state" / "pictures").rglob("*"))
    with serve(made, tmp_path / "state") as second:
        assert ok(second.client.get(f"{window}/spectrogram?width=222")).content == data


def test_the_document_declares_them(served):
    paths = served.get("/openapi.json")["paths"]
    for kind in ("windows/{window_id}", "recordings/{recording_id}", "clips/{clip_id}"):
        sound, picture = paths[f"/v1/{kind}/audio"], paths[f"/v1/{kind}/spectrogram"]
        assert {"200", "206", "304", "404", "409", "413", "416", "422"} <= set(sound["get"]["responses"])
        assert {"audio/wav", "audio/flac"} == set(sound["get"]["responses"]["200"]["content"])
        assert {"image/png"} == set(picture["get"]["responses"]["200"]["content"])
        assert "X-Start-S" in picture["get"]["responses"]["200"]["headers"]
        for operation in (sound, picture):
            assert set(operation) == {"get"}
            assert all(p.get("description") for p in operation["get"]["parameters"])


class TestClips:
    """Uploaded sound, decoded by the limited processes."""

    @pytest.fixture(scope="class")
    @staticmethod
    def clip(served, tmp_path_factory):
        sound = np.stack([kit.tone(900, 3, 22_050), kit.noise(3, 22_050, 0.1)], axis=1)
        path = tmp_path_factory.mktemp("clip") / "call.wav"
        sf.write(path, sound, 22_050, subtype="PCM_16")
        answer = served.client.post(
            "/v1/clips?name=call.wav", content=path.read_bytes(), headers={"Content-Type": "audio/wav"}
        )
        assert answer.status_code in (200, 201), answer.text
        return f"/v1/clips/{answer.json()['data']['clip_id']}", sf.read(path, dtype="float32", always_2d=True)[0]

    def test_its_sound(self, served, clip):
        answer = ok(served.client.get(f"{clip[0]}/audio?from_s=1&to_s=2.5"))
        sound, rate = kit.read(answer.content)
        assert rate == 22_050 and len(sound) == 33_075
        assert sound.shape[1] == 1
        assert np.abs(sound[:, 0] - clip[1][22_050:55_125].mean(axis=1)).max() < 2**-14
        again = served.client.get(f"{clip[0]}/audio?from_s=1&to_s=2.5", headers={"Range": "bytes=0-99"})
        assert ok(again, 206).content == answer.content[:100]

    def test_its_picture(self, served, clip):
        answer = ok(served.client.get(f"{clip[0]}/spectrogram?width=200&height=100"))
        assert kit.pixels(answer.content).shape == (100, 200)
        assert [float(answer.headers[n]) for n in ("x-start-s", "x-end-s", "x-max-hz")] == [0.0, 3.0, 11_025.0]
        loudest = kit.pixels(answer.content).astype(int).mean(axis=1).argmax()
        assert loudest == pytest.approx(100 * (1 - 900 / 11_025), abs=2)
        ok(
            served.client.get(
                f"{clip[0]}/spectrogram?width=200&height=100", headers={"If-None-Match": answer.headers["etag"]}
            ),
            304,
        )

    def test_it_is_decoded_once(self, served, clip, monkeypatch):
        ok(served.client.get(f"{clip[0]}/spectrogram?width=211"))

        async def never(*args):
            raise AssertionError(args)

        monkeypatch.setattr(listening, "clip_samples", never)
        ok(served.client.get(f"{clip[0]}/spectrogram?width=211"))

    def test_clips_that_are_not_there(self, served):
        for clip_id in ("0" * 32, "f" * 32):
            ok(served.client.get(f"/v1/clips/{clip_id}/audio"), 404)
        for clip_id in ("0" * 31, "G" * 32, "..%2fkeys.json", "A" * 32):
            assert served.client.get(f"/v1/clips/{clip_id}/spectrogram").status_code in (404, 422)


@pytest.mark.parametrize("path", ["/v1/windows/", "/v1/", "/healthz/", "/jobs/", "/v1/recordings/?limit=1"])
def test_an_address_has_one_spelling(served, path):
    """No redirect, which no document declares and which would name the host as it was asked for."""
    answer = served.client.get(path, follow_redirects=False)
    assert answer.status_code == 404, answer.headers
    assert answer.json()["error"]["kind"] == "not_found"
    assert "location" not in answer.headers


class TestLargeSounds:
    @pytest.fixture
    def large(self, monkeypatch):
        monkeypatch.setattr(listening, "_SMALL_BYTES", 10_000)
        return monkeypatch

    def test_what_is_being_sent_is_bounded(self, served, window, large):
        large.setattr(listening, "_SENDING_BYTES", 100_000)
        whole = ok(served.client.get(f"{window}/audio"))
        large.setattr(listening._Large, "sending", 40_000)
        answer = served.client.get(f"{window}/audio")
        assert answer.status_code == 503
        assert answer.json()["error"]["kind"] == "overloaded"
        assert "retry-after" in answer.headers
        small = ok(served.client.get(f"{window}/audio", headers={"Range": "bytes=0-9999"}), 206)
        assert small.content == whole.content[:10_000]
        assert listening._Large.sending == 40_000

    def test_one_is_sent_however_large_it_is(self, served, window, large):
        large.setattr(listening, "_SENDING_BYTES", 1)
        for _ in range(3):
            assert len(ok(served.client.get(f"{window}/audio")).content) == 64_044
        assert listening._Large.sending == 0
