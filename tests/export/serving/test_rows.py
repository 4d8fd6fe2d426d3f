"""Rows on the disk: kept, taken over, written; one client at a time."""

import errno
import os

import numpy as np
import pytest

from export.serving import rows, sending, transport
from export.serving.faults import REFUSED, Fault
from tests.support.fake_server import PATIENCE, TARGET, Pictures, Transport
from tfclust.runtime import locks


def stop_after_two_rows(output, plan):
    """What a client leaves that stopped after its first rows."""
    part = sending.Rows(range(2), ["ok"] * 2, {"x": np.arange(2)})
    with rows.Unfinished(output) as kept:
        kept.begin(plan)
        kept.add(part)
        kept.flush()


def test_rows_of_another_request_are_not_mixed(tmp_path):
    stop_after_two_rows(tmp_path / "f.npz", {"version": 1})
    with rows.Unfinished(tmp_path / "f.npz") as kept:
        assert kept.planned() == {"version": 1}
        with pytest.raises(ValueError, match="begun with other version"):
            kept.begin({"version": 2})
    with rows.Unfinished(tmp_path / "f.npz", restart=True) as kept:
        kept.begin({"version": 2})
        assert kept.done == 0


def test_restart_keeps_what_there_is_until_a_server_answers(tmp_path):
    stop_after_two_rows(tmp_path / "f.npz", {"version": 1})
    with rows.Unfinished(tmp_path / "f.npz", restart=True) as kept:
        assert kept.planned() is None  # and then no server answers
    with rows.Unfinished(tmp_path / "f.npz") as kept:
        kept.begin({"version": 1})
        assert kept.done == 2


@pytest.mark.parametrize("name", ["plan.json", "000000000000.npz"])
@pytest.mark.parametrize("words", ["", "[]", "PK"])
def test_damaged_rows_are_told_with_the_way_out(tmp_path, name, words):
    stop_after_two_rows(tmp_path / "f.npz", {})
    (tmp_path / ".f.npz.parts" / name).write_text(words)
    told = pytest.raises(ValueError, match="is damaged.* Give --restart")
    with rows.Unfinished(tmp_path / "f.npz") as kept, told:
        kept.begin({})


def test_two_clients_do_not_write_one_output(tmp_path):
    with rows.Unfinished(tmp_path / "f.npz"):
        other = rows.Unfinished(tmp_path / "f.npz")
        with pytest.raises(ValueError, match="by another client"):
            other.__enter__()


def test_a_file_system_without_locks_is_told_and_used(
    tmp_path, monkeypatch, capsys
):
    def no_locks(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    part = sending.Rows(range(2), ["ok"] * 2, {"x": np.arange(2)})
    with rows.Unfinished(tmp_path / "f.npz") as kept:
        kept.begin({})
        kept.add(part)
        kept.finish(["a", "b"], [], {})
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]
    assert capsys.readouterr().out.startswith("No locks where ")


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


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
@pytest.mark.parametrize("answered", [True, False])
def test_rows_before_the_first_answer_take_its_shape(tmp_path, name, answered):
    """Where the signature leaves the number of names and scores open."""
    outputs = {
        "names": transport.Column("object", (-1, -1)),
        "scores": transport.Column("float32", (-1, -1)),
    }
    target = TARGET._replace(outputs=outputs)

    class Search(Transport):
        def predict(self, target, inputs, outputs, deadline):
            data = [int(x) for x in inputs["image_bytes"]]
            if data[0] < 16 or not answered:
                raise Fault(REFUSED, "no image")
            names = np.array([[b"a", b"b"]] * len(data), object)
            return {"names": names, "scores": np.ones([len(data), 2], "f4")}

    pictures = Pictures(24)
    sender = sending.Sender(
        Search(), target, PATIENCE, pictures, request_bytes=1 << 20
    )
    with rows.Unfinished(tmp_path / name) as kept:
        kept.begin({})
        for part in sender.all_rows(pictures.batches(8), 1):
            kept.add(part)
        kept.finish([f"{i}" for i in range(24)], [("text", "empty")], {})
    if name == "f.npz":
        with np.load(tmp_path / name) as found:
            names, scores = found["names"].tolist(), found["scores"]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(tmp_path / name)
        names = table["names"].to_pylist()
        scores = np.array(table["scores"].to_pylist(), np.float32)
    if answered:
        nothing = ["", ""]
        assert names == [nothing] * 16 + [["a", "b"]] * 8 + [nothing]
        assert np.isnan(scores[[*range(16), 24]]).all()
        assert (scores[16:24] == 1).all()
    else:
        assert names == [[]] * 25
