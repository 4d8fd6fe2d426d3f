"""Numbers and names of clusters that last."""

import csv
import functools
import json

import numpy as np
import pytest
from PIL import Image

from tests.support import assigned
from tests.support.assigned import compute, model, photos
from tfclust import data
from tfclust.assignment import opening, table
from tfclust.assignment.config import ClusterConfig
from tfclust.runs import clusters_file

# Duplicates are no matter here, and to measure their distance takes long.
assign = functools.partial(assigned.assign, duplicate_distance=0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def run(source, tmp_path):
    """The folder of a run that has clustered its images."""
    assign(tmp_path / "run", source)
    as_run(tmp_path / "run")
    return tmp_path / "run"


def as_run(folder):
    """Renames what `assign` wrote as a run calls it."""
    for ending in ("csv", "json", "npz"):
        (folder / f"a.{ending}").rename(folder / f"clusters.{ending}")


def run_rows(folder):
    with open(folder / "clusters.csv", newline="") as file:
        return list(csv.DictReader(file))


def names_file(folder, **named):
    """A file of names, from `k3="cats"`."""
    path = folder / "names.json"
    path.write_text(json.dumps({k[1:]: name for k, name in named.items()}))
    return str(path)


def called(rows):
    """`{cluster: name}` of those that have one."""
    found = {int(r["cluster"]): r["cluster_name"] for r in rows}
    return {k: name for k, name in found.items() if name}


def test_names_last_and_numbers_are_kept(source, tmp_path):
    """Clusters of another order get their old numbers and names back."""
    rows, _ = assign(tmp_path / "a", source)
    cats, *_, ships = sorted({int(row["cluster"]) for row in rows})
    words = {f"k{cats}": " cats  and\tdogs ", f"k{ships}": "ships"}
    typed = names_file(tmp_path, **words)
    rows, _ = assign(tmp_path / "a", source, names=typed)
    assert called(rows) == {cats: "cats and dogs", ships: "ships"}

    def turned(images):
        found = compute(images)
        return {**found, "cluster": (found["cluster"] + 2) % 5}

    again, said = assign(
        tmp_path / "b",
        source,
        of=model(compute=turned, digest="other"),
        keep_ids=str(tmp_path / "a" / "a.csv"),
    )
    for name in ("cluster", "cluster_name", "second_choice"):
        assert [r[name] for r in again] == [r[name] for r in rows]
    assert "keep their numbers" in said[0]
    found = clusters_file.read(tmp_path / "b" / "a.json")
    assert found.model_names == {
        (cats + 2) % 5: "cats and dogs",
        (ships + 2) % 5: "ships",
    }


def test_kept_numbers_and_names_stay_with_later_images(source, tmp_path):
    """A run whose numbers are not the model's own any more."""
    workdir = tmp_path / "run"
    assign(workdir, source)
    names, clusters, _ = table.read(workdir / "a.csv")
    old = tmp_path / "old.csv"
    lines = (
        f"{n},{9 - k},was {k}\n" for n, k in zip(names, clusters, strict=True)
    )
    old.write_text("name,cluster,cluster_name\n" + "".join(lines))
    kept, _ = assign(workdir, source, keep_ids=str(old))
    (workdir / "a.json").rename(workdir / "clusters.json")
    (workdir / "a.npz").rename(workdir / "clusters.npz")
    assert kept[0]["cluster_name"] == f"was {clusters[0]}"
    later, _ = assign(tmp_path / "new", source, workdir=str(workdir))
    assert later == kept

    def all_in_a_new_one(images):
        found = compute(images)
        return {**found, "cluster": 0 * found["cluster"] + 30}

    rows, _ = assign(
        tmp_path / "odd",
        source,
        of=model(compute=all_in_a_new_one),
        workdir=str(workdir),
        drift=True,
    )
    assert {row["cluster_name"] for row in rows} == {""}
    assert {row["outlier"] for row in rows} == {"1"}


def test_names_stay_when_the_same_clusters_are_written_again(source, tmp_path):
    typed = names_file(tmp_path, k0="round")
    assign(tmp_path, source, num_clusters="3", names=typed)
    rows, _ = assign(tmp_path, source, num_clusters="3", pick=5)
    assert called(rows) == {0: "round"}


def week(folder, top_first, name="IMG_{:04}.png"):
    """Forty photos, one half of which is bright at the top."""
    folder.mkdir()
    random = np.random.default_rng(int(top_first))
    for i in range(40):
        image = random.integers(0, 20, (8, 8, 3), np.uint8)
        half = slice(0, 4) if (i < 20) == top_first else slice(4, 8)
        image[half] += 200
        Image.fromarray(image).save(folder / name.format(i))
    return data.open_source(f"folder:{folder}")


@pytest.mark.parametrize("name", ["IMG_{:04}.png", "other{}.png"])
def test_names_do_not_land_on_other_images_of_the_same_output(tmp_path, name):
    first = week(tmp_path / "w1", True)
    later = week(tmp_path / "w2", False, name)
    out = tmp_path / "out"
    rows, _ = assign(out, first, num_clusters="2")
    typed = names_file(tmp_path, **{f"k{rows[0]['cluster']}": "bright top"})
    assign(out, first, num_clusters="2", names=typed)
    rows, said = assign(out, later, num_clusters="2")
    assert not called(rows)
    told = said[0]
    assert "bright top" in told and first.uri in told and later.uri in told


def test_names_beside_a_table_that_is_gone_are_told(source, tmp_path):
    typed = names_file(tmp_path, k0="round")
    assign(tmp_path, source, num_clusters="3", names=typed)
    (tmp_path / "a.csv").unlink()
    rows, said = assign(tmp_path, source, num_clusters="3")
    assert not called(rows) and "0: round" in said[0]


def test_names_typed_for_new_images_outlive_the_next_command(
    source, run, tmp_path
):
    knobs = {"workdir": str(run), "data": source.uri}
    assign(run, source, workdir=str(run), names=names_file(run, k1="one"))
    as_run(run)
    typed = names_file(tmp_path, k0="zero")
    first, _ = assign(tmp_path / "new", source, names=typed, **knobs)
    assert called(first) == {0: "zero", 1: "one"}
    again, _ = assign(tmp_path / "new", source, pick=3, **knobs)
    assert called(again) == called(first)
    # A name that came from the run changes with it; a typed one does not.
    renamed = names_file(run, k0="nil", k1="uno")
    assign(run, source, workdir=str(run), names=renamed)
    as_run(run)
    again, _ = assign(tmp_path / "new", source, **knobs)
    assert called(again) == {0: "zero", 1: "uno"}
    # Without what the training knew, the model is still the same.
    (run / "clusters.json").unlink()
    again, _ = assign(tmp_path / "new", data.Sample(source, range(50)), **knobs)
    assert called(again) == {0: "zero", 1: "uno"}


def test_kept_numbers_leave_the_names_of_other_clusters(source, run, tmp_path):
    typed = names_file(tmp_path, k0="zero", k1="one")
    rows, _ = assign(run, source, workdir=str(run), names=typed)
    as_run(run)
    old = tmp_path / "old.csv"
    lines = ["name,cluster,cluster_name"]
    for i, row in enumerate(rows):  # 0 is scattered, and 1 has another name
        k = int(row["cluster"])
        number = 100 + k if k else 200 + i % 7
        lines.append(f"{row['name']},{number},{'uno' if k == 1 else ''}")
    old.write_text("\n".join(lines) + "\n")
    rows, _ = assign(run, source, workdir=str(run), keep_ids=str(old))
    assert called(rows) == {0: "zero", 101: "uno"}


def test_other_images_of_the_same_names_are_told(tmp_path):
    first, later = week(tmp_path / "w1", True), week(tmp_path / "w2", False)
    out, old = tmp_path / "out", tmp_path / "old"
    assign(old, first, num_clusters="2")
    kept = str(old / "a.csv")
    _, said = assign(out, later, num_clusters="2", keep_ids=kept)
    assert first.uri in said[1] and later.uri in said[1]
    said = []
    compare = ClusterConfig(compare=(kept, str(out / "a.csv")))
    opening.run(compare, said.append)
    assert first.uri in said[-1] and later.uri in said[-1]
    said.clear()
    opening.run(ClusterConfig(compare=(kept, kept)), said.append)
    assert first.uri not in said[-1]


@pytest.mark.parametrize("several", [True, False])
def test_new_images_are_measured_by_those_of_the_training(
    source, run, tmp_path, several
):
    before = run_rows(run)
    lowest = min(int(row["cluster"]) for row in before)
    some = [i for i, r in enumerate(before) if int(r["cluster"]) == lowest]
    new = data.Sample(source, some if several else [17])
    rows, _ = assign(tmp_path / "new", new, workdir=str(run), data=source.uri)
    before = {row["name"]: row for row in before}
    for row in rows:
        old = before[row["name"]]
        assert float(row["distance"]) == pytest.approx(
            float(old["distance"]), abs=1e-5
        )
        # Of the clusters that none of these images is in.
        assert row["second_choice"] == old["second_choice"]


def test_a_table_of_huge_numbers_keeps_none(source, tmp_path):
    other = tmp_path / "other.csv"
    lines = [f"{n},2000000000,\n" for n in source.manifest().names]
    other.write_text("name,cluster,cluster_name\n" + "".join(lines))
    with pytest.raises(ValueError, match="at most 1,000,000"):
        assign(tmp_path / "new", source, keep_ids=str(other))
