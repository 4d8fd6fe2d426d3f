"""What a server's faults do to the client: to one image, or to none."""

import collections
import threading
import time

import numpy as np
import pytest

from export.serving import client, rows, sending, transport
from export.serving.faults import (
    FATAL,
    REFUSED,
    TRANSIENT,
    Fault,
    ServingError,
)
from export.serving.local.models import Refused
from tests.export.serving.conftest import MODEL
from tests.support.image_files import encoded, picture
from tests.support.model_servers import local

COLUMNS = {
    "features": transport.Column("float32", (-1, 2)),
    "cluster": transport.Column("int64", (-1,)),
}
TARGET = sending.Target("mine", 1, "serving_default", "image_bytes", COLUMNS)
PATIENCE = sending.Patience(deadline=5, retries=3)


class Pictures:
    """Image i is its number in words."""

    def __init__(self, count):
        self.count = count

    def encoded(self, position):
        return str(position).encode()

    def batches(self, rows):
        for begin in range(0, self.count, rows):
            yield range(begin, min(begin + rows, self.count))


class Transport:
    """Answers features [i, i] and cluster i; `trouble` may raise."""

    def __init__(self, trouble=lambda data: None, alive=True):
        self.trouble, self.alive = trouble, alive
        self.calls, self.closed = [], False

    def describe(self, model, version, label, deadline):
        if not self.alive:
            raise Fault(TRANSIENT, "connection refused")

    def predict(self, target, inputs, outputs, deadline):
        data = [int(x) for x in inputs["image_bytes"]]
        self.calls.append(data)
        self.trouble(data)
        numbers = np.array(data)
        features = np.stack([numbers, numbers], axis=1).astype(np.float32)
        return {"features": features, "cluster": numbers}

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 1e-4)


def send(server, count=40, batch=8, concurrency=4):
    pictures = Pictures(count)
    sender = sending.Sender(server, TARGET, PATIENCE, pictures)
    found = list(sender.all_rows(pictures.batches(batch), concurrency))
    status = [s for part in found for s in part.status]
    cluster = np.concatenate([part.columns["cluster"] for part in found])
    return status, cluster


@pytest.mark.parametrize("bad", [[13], [0], [39], [8, 9, 15], list(range(8))])
def test_a_refused_image_never_costs_the_others(bad):
    def trouble(data):
        if set(data) & set(bad):
            raise Fault(REFUSED, "invalid argument: no image")

    status, cluster = send(Transport(trouble))
    for i in range(40):
        assert cluster[i] == (-1 if i in bad else i)
        wanted = "refused: invalid argument: no image" if i in bad else "ok"
        assert status[i] == wanted


def test_one_bad_image_costs_few_requests():
    def trouble(data):
        if 13 in data:
            raise Fault(REFUSED, "bad")

    server = Transport(trouble)
    send(server, count=64, batch=64)
    assert len(server.calls) <= 1 + 2 * 6  # two halves at each of log2(64)


def test_what_may_pass_is_tried_again_and_answered_once():
    tries = collections.Counter()

    def trouble(data):
        tries[tuple(data)] += 1
        if tries[tuple(data)] <= 3:
            raise Fault(TRANSIENT, "unavailable: overloaded")

    status, cluster = send(Transport(trouble))
    assert cluster.tolist() == list(range(40))
    assert set(status) == {"ok"} and set(tries.values()) == {4}


def test_pauses_grow_and_are_bounded(monkeypatch):
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 0.1)
    pauses = []

    def call():
        raise Fault(TRANSIENT, "down")

    with pytest.raises(Fault):
        sending.patiently(call, sending.Patience(1, 12), pauses.append)
    for attempt, pause in enumerate(pauses):
        whole = min(10, 0.1 * 2**attempt)
        assert whole / 2 <= pause <= whole
    assert len(pauses) == 12


def test_an_image_that_is_too_slow_is_found_while_the_server_lives():
    def trouble(data):
        if 5 in data:
            raise Fault(TRANSIENT, "deadline exceeded")

    status, cluster = send(Transport(trouble), count=16)
    assert status[5] == "refused: deadline exceeded"
    assert cluster.tolist() == [i if i != 5 else -1 for i in range(16)]


@pytest.mark.parametrize(
    "kind, alive, words",
    [
        (TRANSIENT, False, "does not answer after 3 further tries"),
        (FATAL, True, "no longer answers for mine, version 1"),
    ],
)
def test_a_server_that_is_gone_ends_the_command_at_once(kind, alive, words):
    def trouble(data):
        raise Fault(kind, "gone")

    server = Transport(trouble, alive)
    with pytest.raises(ServingError, match=words):
        send(server, count=400)
    assert server.closed
    assert len({tuple(call) for call in server.calls}) < 20


def test_answers_come_in_order_whoever_is_first():
    def trouble(data):
        time.sleep(0.02 if data[0] % 16 == 0 else 0)

    _, cluster = send(Transport(trouble), count=100, batch=8, concurrency=8)
    assert cluster.tolist() == list(range(100))


def test_an_answer_with_a_row_too_few_is_refused():
    with pytest.raises(Fault, match="expected a row for each"):
        transport.checked_answer({"x": np.zeros([3, 2])}, 4)


def test_a_stopped_client_goes_on_after_the_rows_it_has(tmp_path):
    plan = {"model": "mine", "version": 1}
    names = [f"{i}.png" for i in range(40)]
    output = tmp_path / "f.npz"
    done = []

    def trouble(data):
        if data[0] >= 24:
            raise Fault(FATAL, "stopped")

    for server in (Transport(trouble), Transport()):
        with rows.Unfinished(output) as kept:
            kept.begin(plan)
            done.append(kept.done)
            pictures = Pictures(40)
            sender = sending.Sender(server, TARGET, PATIENCE, pictures)
            batches = [b for b in pictures.batches(8) if b[0] >= kept.done]
            try:
                for part in sender.all_rows(batches, 1):
                    kept.add(part)
            except ServingError:
                kept.flush()
                continue
            kept.finish(names, [("bad.png", "empty")], plan)
    assert done == [0, 24]
    assert server.calls[0][0] == 24  # nothing is asked twice
    with np.load(output) as found:
        assert found["cluster"].tolist() == [*range(40), -1]
        assert found["name"].tolist() == [*names, "bad.png"]
        assert found["status"].tolist()[-1] == "not sent: empty"
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


def test_rows_of_another_request_are_not_mixed(tmp_path):
    part = sending.Rows(range(2), ["ok"] * 2, {"x": np.arange(2)})
    with rows.Unfinished(tmp_path / "f.npz") as kept:
        kept.begin({"version": 1})
        kept.add(part)
        kept.flush()
    with rows.Unfinished(tmp_path / "f.npz") as kept:
        assert kept.planned() == {"version": 1}
        with pytest.raises(ValueError, match="begun with other version"):
            kept.begin({"version": 2})
    with rows.Unfinished(tmp_path / "f.npz", restart=True) as kept:
        kept.begin({"version": 2})
        assert kept.done == 0


def test_two_clients_do_not_write_one_output(tmp_path):
    with rows.Unfinished(tmp_path / "f.npz"):
        other = rows.Unfinished(tmp_path / "f.npz")
        with pytest.raises(ValueError, match="by another client"):
            other.__enter__()


def test_columns_of_several_axes_and_of_words_are_kept(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    boxes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    words = np.array([["ä".encode(), b"b"], [b"", b"d"]], object)
    part = sending.Rows(range(2), ["ok"] * 2, {"boxes": boxes, "words": words})
    for name in ("f.npz", "f.parquet"):
        with rows.Unfinished(tmp_path / name) as kept:
            kept.begin({})
            kept.add(part)
            kept.finish(["a", "b"], [], {})
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table["boxes"].to_pylist() == boxes.tolist()
    assert table["words"].to_pylist() == [["ä", "b"], ["", "d"]]
    with np.load(tmp_path / "f.npz") as found:
        np.testing.assert_array_equal(found["boxes"], boxes)
        assert found["words"].tolist() == [["ä", "b"], ["", "d"]]


# Over the wire.


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
    assert refused.value.kind == TRANSIENT
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize(
    "code, kind", [(14, TRANSIENT), (8, TRANSIENT), (3, REFUSED), (5, FATAL)]
)
def test_a_servers_codes_are_told_apart(connected, monkeypatch, code, kind):
    found, server = connected
    target = target_of(found)

    def refuse(*_):
        raise Refused(code, "because")

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
