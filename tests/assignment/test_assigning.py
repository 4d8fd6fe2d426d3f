"""From images to the table, the page and the folders."""

import errno
import pathlib
import types

import numpy as np
import pytest

from tests.support import processes
from tests.support.assigned import assign, compute, config, model, photos
from tfclust import data
from tfclust.assignment import assigning, passing, sorting, table
from tfclust.runs import clusters_file
from tfclust.runtime import folders


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def plain(source, tmp_path_factory):
    """Folder, rows and words of an assignment that nothing disturbed."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, *assign(folder, source)


def test_rows_are_those_of_the_model(source, plain):
    _, rows, said = plain
    found = data.ImagePass(compute, source, image_size=8, resize_size=8).run()
    assert [row["name"] for row in rows] == source.manifest().names
    clusters = [int(row["cluster"]) for row in rows]
    np.testing.assert_array_equal(clusters, found["cluster"])
    scores = [float(row["confidence"]) for row in rows]
    np.testing.assert_allclose(scores, found["cluster_score"], rtol=1e-5)
    assert said[-1].startswith("Written: ")


def test_nothing_but_the_results_stays(plain):
    folder, *_ = plain
    assert sorted(p.name for p in folder.iterdir()) == [
        "a.csv",
        "a.json",
        "a.npz",
    ]


def test_clusters_file_has_sizes_and_the_images_nearest_to_the_middle(plain):
    folder, rows, _ = plain
    found = clusters_file.read(folder / "a.json")
    assert sum(c["size"] for c in found.clusters) == 100
    for c in found.clusters:
        members = [r for r in rows if int(r["cluster"]) == c["id"]]
        members.sort(key=lambda row: float(row["distance"]))
        assert c["size"] == len(members)
        assert c["exemplars"][0] == members[0]["name"]


KILLED = """
import os, pathlib, signal, sys
from tests.support import assigned
from tfclust import data
from tfclust.assignment import assigning, passing
from tfclust.assignment.store import RowStore

passing._COMMIT_EVERY = 0
commit = RowStore.commit

def killed_at_the_third(self, notes):
    if self._end >= 48:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, notes)

RowStore.commit = killed_at_the_third
source = data.open_source(f"folder:{sys.argv[1]}")
output = pathlib.Path(sys.argv[2]) / "a.csv"
assigning.assign_source(
    assigned.config(), assigned.model(), source, output, print
)
"""


def test_killed_assignment_resumes_to_the_same_table(
    source, plain, tmp_path, monkeypatch
):
    root = pathlib.Path(source.path(0)).parent
    done = processes.run(["-c", KILLED, str(root), str(tmp_path)])
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "a.csv").exists()
    firsts = []
    image_pass = data.ImagePass

    def counted(*args, **knobs):
        firsts.append(knobs.get("first"))
        return image_pass(*args, **knobs)

    monkeypatch.setattr(passing.data, "ImagePass", counted)
    assign(tmp_path, source)
    assert firsts[0] == 32  # what was committed is not computed again
    for name in ("a.csv", "a.json"):
        assert (tmp_path / name).read_bytes() == (
            plain[0] / name
        ).read_bytes(), name


def test_image_that_is_gone_is_listed_and_not_given_anothers_cluster(tmp_path):
    source = photos(tmp_path / "digits", count=60)
    gone = source.manifest().names[7]
    pathlib.Path(source.path(7)).unlink()
    rows, said = assign(tmp_path / "out", source)
    assert len(rows) == 59 and gone not in [row["name"] for row in rows]
    listed = (tmp_path / "out" / "a.skipped.txt").read_text()
    assert listed == f"{gone}\tNo such file or directory\n"
    (told,) = (line for line in said if "1 images could not be read" in line)
    assert told.endswith("a.skipped.txt.")
    assert not (tmp_path / "out" / "skipped.txt").exists()


@pytest.mark.parametrize("stream", [True, False])
def test_run_on_a_stream_or_without_clusters_has_no_table(tmp_path, stream):
    source = types.SimpleNamespace(is_stream=stream)
    views = types.SimpleNamespace(source=source)
    method = types.SimpleNamespace(views=views)
    if stream:
        method.clusterer = lambda: ()
    trained = types.SimpleNamespace(method=method, workdir=tmp_path)
    assert assigning.after_training(trained, 9, print) is None
    assert not [*tmp_path.iterdir()]


def test_full_disk_is_told_before_the_pass(source, tmp_path, monkeypatch):
    usage = passing.shutil._ntuple_diskusage(10, 9, 1)
    monkeypatch.setattr(passing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="Make room"):
        assign(tmp_path, source)


def test_features_that_are_no_numbers_are_told(source, tmp_path):
    def broken(images):
        found = compute(images)
        return {**found, "features": found["features"] / 0.0}

    with pytest.raises(ValueError, match="features must be finite"):
        assign(tmp_path, source, of=model(compute=broken))


def test_model_without_clusters_needs_a_number(source, tmp_path):
    def alone(images):
        return {"features": compute(images)["features"]}

    headless = model(compute=alone, has_clusters=False)
    with pytest.raises(ValueError, match="no clusters of its own.*auto"):
        assigning._check_clusters(config(), headless)
    rows, _ = assign(tmp_path, source, of=headless, num_clusters="4")
    assert {row["cluster"] for row in rows} == {"0", "1", "2", "3"}


def test_known_images_and_duplicates_are_named(tmp_path):
    source = photos(tmp_path / "new", count=30)
    names = source.manifest().names
    copy = tmp_path / "new" / "z.png"
    copy.write_bytes(pathlib.Path(source.path(3)).read_bytes())
    photos(tmp_path / "old", count=40)
    for i in range(12):
        (tmp_path / "old" / f"{i}.png").unlink()
    source = data.open_source(f"folder:{tmp_path / 'new'}")
    rows, said = assign(
        tmp_path / "out",
        source,
        duplicate_distance=0.0,
        known_data=f"folder:{tmp_path / 'old'}",
        cache_dir=str(tmp_path / "cache"),
    )
    found = {row["name"]: row["duplicate_of"] for row in rows}
    assert found["z.png"] == (
        f"known:{names[3]}" if int(names[3][:-4]) >= 12 else names[3]
    )
    assert found["5.png"] == "" and found["29.png"] == "known:29.png"
    assert any("images are known already" in line for line in said)


def test_drift_lists_what_fits_no_cluster_of_the_training(source, tmp_path):
    workdir = tmp_path / "run"
    assign(workdir, source)
    (workdir / "a.json").rename(workdir / "clusters.json")
    (workdir / "a.npz").rename(workdir / "clusters.npz")
    new = data.open_source(f"folder:{pathlib.Path(source.path(0)).parent}")
    rows, said = assign(
        tmp_path / "same", new, workdir=str(workdir), drift=True
    )
    share = np.mean([int(row["outlier"]) for row in rows])
    (told,) = (line for line in said if line.startswith("Drift: "))
    assert told.count(f"{share:.1%}") == 2  # as many as in the training
    random = np.random.default_rng(0)
    noise = data.ArraySource(random.integers(0, 256, (40, 8, 8, 3), np.uint8))
    rows, said = assign(
        tmp_path / "other", noise, workdir=str(workdir), drift=True
    )
    assert np.mean([int(row["outlier"]) for row in rows]) > 0.9
    listed = (tmp_path / "other" / "a.drift.txt").read_text().splitlines()
    assert {*listed} == {r["name"] for r in rows if r["outlier"] == "1"}


def test_drift_without_a_reference_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="nothing is known"):
        assign(tmp_path, source, drift=True)


def test_picked_images_are_of_all_clusters(source, plain, tmp_path):
    _, rows, _ = plain
    assign(tmp_path, source, pick=10)
    names, clusters, _ = table.read(tmp_path / "a.picked.csv")
    assert len(set(names)) == 10
    assert {*clusters} == {int(row["cluster"]) for row in rows}


@pytest.mark.parametrize("link", [True, False])
def test_images_are_sorted_into_folders(source, plain, tmp_path, link):
    _, rows, _ = plain
    argument = "link_into" if link else "copy_into"
    root = pathlib.Path(source.path(0)).parent
    target = tmp_path / "sorted"
    knobs = {argument: str(target), "data": f"folder:{root}"}
    assign(tmp_path / "out", source, **knobs)
    found = {p.name: p for p in target.glob("*/*")}
    assert len(found) == 100
    for row in rows:
        path = found[row["name"]]
        assert path.parent.name == f"{int(row['cluster']):04}"
        assert path.is_symlink() == link
        assert path.read_bytes() == (root / row["name"]).read_bytes()
    with pytest.raises(ValueError, match="a new or an empty folder"):
        assign(tmp_path / "out", source, **knobs)
    inside = {argument: str(root / "sorted"), "data": f"folder:{root}"}
    with pytest.raises(ValueError, match="must lie outside data"):
        assign(tmp_path / "out", source, **inside)


def test_a_full_disk_leaves_no_sorted_images(
    source, plain, tmp_path, monkeypatch
):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sorting.shutil, "copy2", full)
    target = tmp_path / "sorted"
    with pytest.raises(folders.DiskError, match="room"):
        assign(tmp_path / "new", source, copy_into=str(target))
    assert (tmp_path / "new" / "a.csv").is_file()
    assert not [p for p in tmp_path.iterdir() if "sorted" in p.name]


def test_images_that_are_no_files_are_not_sorted(tmp_path):
    digits = data.open_source("digits:?split=test", max_images=20)
    with pytest.raises(ValueError, match="images that are files"):
        assign(
            tmp_path,
            digits,
            copy_into=str(tmp_path / "b"),
            data="digits:?split=test",
        )
