"""Faults over the wire, in both protocols: the request fails, others live."""

import json
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from export.serving import client, rows, sending, transport
from export.serving.faults import (
    FATAL,
    HEAVY,
    REFUSED,
    TRANSIENT,
    Fault,
    ServingError,
)
from export.serving.local.models import Refused
from tests.export.serving.conftest import MODEL
from tests.support.image_files import encoded, picture
from tests.support.model_servers import local


@pytest.fixture(params=["grpc", "http"])
def connected(request, server):
    """A transport to the local server, and its server."""
    url = server.grpc_url if request.param == "grpc" else server.rest_url
    found = transport.connect(url)
    yield found, server
    found.close()


def target_of(found):
    about = found.describe(MODEL, None, None, 30)
    columns = about.signatures["serving_default"].outputs
    return sending.Target(
        MODEL, about.version, "serving_default", "image_bytes", columns
    )


def ask(found, target, files, deadline=60):
    return found.predict(
        target, {"image_bytes": files}, list(target.outputs), deadline
    )


def test_both_protocols_describe_a_model_alike(server):
    grpc = transport.connect(server.grpc_url)
    rest = transport.connect(server.rest_url)
    one = grpc.describe(MODEL, None, None, 30)
    assert one == rest.describe(MODEL, 2, None, 30)
    assert one.signatures["images"].inputs["images"].shape == (-1, -1, -1, 3)
    grpc.close()
    rest.close()


def test_bad_bytes_fail_alone_and_others_live(connected):
    found, _ = connected
    target = target_of(found)
    good = encoded(picture())
    alone = ask(found, target, [good])
    for bad in (b"", b"x" * 1000, good[:50], b"\x89PNG" + b"\xff" * 100):
        answer = ask(found, target, [good, bad])
        assert answer["status"][0] == b"ok" and answer["status"][1] != b"ok"
        np.testing.assert_array_equal(
            answer["features"][0], alone["features"][0]
        )


def test_a_request_that_is_too_large_is_refused_and_others_live(connected):
    found, _ = connected
    target = target_of(found)
    with pytest.raises(Fault) as refused:
        ask(found, target, [b"x" * (3 << 20)])
    assert refused.value.kind == REFUSED
    assert ask(found, target, [encoded(picture())])["status"][0] == b"ok"


def test_malformed_requests_are_refused_and_others_live(connected):
    found, _ = connected
    target = target_of(found)
    with pytest.raises(Fault):
        found.predict(target, {"nothing": [b""]}, list(target.outputs), 30)
    images = target._replace(signature="images", input="images")
    for bad in (np.zeros([2, 2], np.float32), np.zeros([0, 8, 8, 3], "f4")):
        with pytest.raises(Fault) as refused:
            found.predict(images, {"images": bad}, ["features"], 30)
        assert refused.value.kind == REFUSED
    assert ask(found, target, [encoded(picture())])["status"][0] == b"ok"


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [["a"], ["b", "c"]]},
        {"instances": [["a"], "b"]},
        {"inputs": {"image_bytes": [[["a"]], ["b"]]}},
        {"instances": ["a"], "signature_name": []},
        {"instances": ["a"], "signature_name": {"a": 1}},
        {"instances": ["a"], "signature_name": None},
        {"instances": None},
        {"instances": [{"b64": 7}]},
        {"instances": [{"b64": "?"}]},
        {"inputs": 7},
        [],
        7,
    ],
    ids=str,
)
def test_malformed_json_has_a_status(server, body):
    request = urllib.request.Request(
        f"{server.rest_url}/v1/models/{MODEL}:predict",
        json.dumps(body).encode(),
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 400
    assert json.loads(refused.value.read())["error"]


def test_a_deadline_ends_a_request(connected, monkeypatch):
    found, server = connected
    target = target_of(found)
    held = threading.Event()
    find = server.models.find

    def slow(*arguments):
        held.wait(10)
        return find(*arguments)

    monkeypatch.setattr(server.models, "find", slow)
    begin = time.monotonic()
    with pytest.raises(Fault) as refused:
        ask(found, target, [encoded(picture())], deadline=0.3)
    held.set()
    assert refused.value.kind == HEAVY
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize(
    "code, words, kind",
    [
        (14, "", TRANSIENT),
        (8, "the queue is full", TRANSIENT),
        (8, "OOM when allocating tensor with shape[32,9]", HEAVY),
        (4, "", HEAVY),
        (3, "", REFUSED),
        (5, "", FATAL),
    ],
)
def test_a_servers_codes_are_told_apart(
    connected, monkeypatch, code, words, kind
):
    found, server = connected
    target = target_of(found)

    def refuse(*_):
        raise Refused(code, f"because {words}")

    monkeypatch.setattr(server.models, "find", refuse)
    with pytest.raises(Fault, match="because") as refused:
        ask(found, target, [encoded(picture())])
    assert refused.value.kind == kind


def test_a_version_is_not_left_when_a_newer_one_comes(
    own_versions, tmp_path, monkeypatch
):
    """All rows are of the version that the client began with."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(20):
        (photos / f"{i}.png").write_bytes(encoded(picture()))
    (own_versions / "2").unlink()
    with local({MODEL: own_versions}, warm_up=False) as server:
        config = client.ClientConfig(
            url=server.grpc_url, model=MODEL, images=f"folder:{photos}",
            output=str(tmp_path / "f.npz"), batch_size=2, concurrency=1,
            retries=0,
        )  # fmt: skip
        flush = rows.Unfinished.add

        def newer(kept, found):
            flush(kept, found)
            if not (own_versions / "2").exists():
                target = (own_versions / "1").resolve()
                (own_versions / "2").symlink_to(target)
                server.models.reload(MODEL)

        monkeypatch.setattr(rows.Unfinished, "add", newer)
        with pytest.raises(ServingError, match="no longer answers for mine"):
            client.run(config)
        with pytest.raises(ServingError, match="rows so far are of that vers"):
            client.run(config)
        client.run(client.dataclasses.replace(config, restart=True))
    with np.load(tmp_path / "f.npz") as found:
        assert set(found["status"]) == {"ok"} and len(found["name"]) == 20
