"""What a server's faults do to the client: to one image, or to none."""

import collections
import time

import numpy as np
import pytest

from export.serving import rows, sending, transport
from export.serving.faults import (
    FATAL,
    HEAVY,
    REFUSED,
    TRANSIENT,
    Fault,
    ServingError,
)
from tests.support.fake_server import PATIENCE, TARGET, Pictures, Transport


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 1e-4)


def sender_of(server, pictures, request_bytes=1 << 20):
    return sending.Sender(
        server, TARGET, PATIENCE, pictures, request_bytes=request_bytes
    )


def send(server, count=40, batch=8, concurrency=4):
    pictures = Pictures(count)
    sender = sender_of(server, pictures)
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


def test_large_images_are_sent_in_more_requests():
    """What a turned photo becomes is larger than its file says."""
    server, pictures = Transport(), Pictures(20, length=100)
    sender = sender_of(server, pictures, request_bytes=250)
    found = list(sender.all_rows(pictures.batches(8), 2))
    cluster = np.concatenate([part.columns["cluster"] for part in found])
    assert cluster.tolist() == list(range(20))
    assert max(map(len, server.calls)) == 3
    assert [part.positions for part in found] == [*pictures.batches(8)]


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


def test_a_server_that_stays_too_busy_is_not_asked_for_more():
    """It describes its model all the while, past its queue."""

    def trouble(data):
        if data[0] >= 16:
            raise Fault(TRANSIENT, "HTTP 503: the queue is full")

    server = Transport(trouble)
    with pytest.raises(ServingError, match="queue is full. .*same command con"):
        send(server, concurrency=1)
    assert {len(call) for call in server.calls} == {8}  # never in two


def test_a_server_that_hangs_ends_the_command_after_few_requests():
    def trouble(data):
        raise Fault(HEAVY, "no answer within 5 seconds")

    server = Transport(trouble)
    with pytest.raises(ServingError, match="3 images in a row .* --deadline"):
        send(server, count=32, batch=32, concurrency=1)
    # 32, 16, 8, 4, 2, 1, 1, 2, 1, each of them twice.
    assert len(server.calls) == 2 * 9


def test_a_busy_server_has_its_time():
    pauses = []

    def call():
        raise Fault(TRANSIENT, "the queue is full")

    with pytest.raises(Fault):
        sending.patiently(call, sending.Patience(1, 2, 0.5), pauses.append)
    assert len(pauses) > 2 and sum(pauses[:-1]) < 0.5 <= sum(pauses)


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
            raise Fault(HEAVY, "deadline exceeded")

    status, cluster = send(Transport(trouble), count=16)
    assert status[5] == "refused: deadline exceeded"
    assert cluster.tolist() == [i if i != 5 else -1 for i in range(16)]


@pytest.mark.parametrize(
    "kind, alive, words",
    [
        (TRANSIENT, False, "does not answer after further tries: gone"),
        (HEAVY, False, "does not answer after further tries: connection refu"),
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
            sender = sender_of(server, pictures)
            try:
                for part in sender.all_rows(pictures.batches(8, kept.done), 1):
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
