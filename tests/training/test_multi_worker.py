"""Two hosts train as one does: two processes here, joined by TF_CONFIG."""

import json
import os

import numpy as np
import pytest

from tests.benchmarks import bench_kills
from tests.support import processes
from tests.support.commands import NO_PLAN
from tfclust.runs import checkpoints

# Each process takes as long as twenty other tests; two hosts' operations are
# tested in test_replicas.
pytestmark = pytest.mark.slow

TIMEOUT = 300  # seconds; half a minute where nothing else runs
NOTICED = 120  # seconds from a host's end to that of the others; 2 to 34 seen
STEPS = 3  # an epoch and a half; the last step balances with the full queue
TINY = [
    NO_PLAN,
    "--max_images=32",
    "--backbone=small",
    "--image_size=8",
    "--batch_size=16",
    "--projection_width=8",
    "--knn_images=32",
    "--augmentation=none",
    "--optimizer=sgd",
    "--learning_rate=0.1",
    f"--steps={STEPS}",
    "--checkpoint_steps=1",
    f"--keep_checkpoints={STEPS}",
]


METHODS = {
    "swav": [
        "--num_clusters=5",
        "--hidden_width=8",
        "--freeze_steps=2",
        "--queue_rows=32",
        "--queue_start_epoch=0",
    ],
    # Labels before each step, by features of both hosts.
    "sela": ["--num_clusters=5,6", "--num_label_steps=20"],
    # Rows on each host, and what happens there after a step.
    "odc": ["--num_clusters=4", "--hidden_width=16", "--dropout=0"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return bench_kills.write_images(tmp_path_factory.mktemp("images"))


def member(hosts, index):
    """What TF_CONFIG tells a host."""
    task = {"type": "worker", "index": index}
    return {"cluster": {"worker": hosts}, "task": task}


def start(workdir, images, *arguments, method="swav", cluster=None):
    """A training command; `cluster` is what TF_CONFIG tells it."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.pop("TF_CONFIG", None)
    if cluster is not None:
        environment["TF_CONFIG"] = json.dumps(cluster)
    recipe = [f"--method={method}", *TINY, *METHODS[method]]
    where = [f"--workdir={workdir}", f"--data=folder:{images}"]
    return processes.start(
        ["-m", "tfclust.train", *recipe, *arguments, *where],
        env=environment,
        # Hosts share nothing that an interpreter settles as it starts.
        fresh=cluster is not None and cluster["task"]["index"] == 1,
    )


def finish(hosts):
    """Standard output of each; none is left running."""
    outputs = []
    try:
        for process in hosts:
            output, errors = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, errors[-6000:]
            outputs.append(output)
    finally:
        for process in hosts:
            process.kill()
            process.wait()
    return outputs


def train_apart_and_alone(method, folder, images):
    """Folders of the chief, the second host and a lone process; outputs."""
    hosts = [f"127.0.0.1:{port}" for port in processes.free_ports(2)]
    workdirs = [folder / name for name in ("chief", "second", "alone")]
    pair = [
        start(
            workdirs[index],
            images,
            "--strategy=multi_worker",
            method=method,
            cluster=member(hosts, index),
        )
        for index in range(2)
    ]
    outputs = finish(pair)
    alone = start(workdirs[2], images, "--strategy=one", method=method)
    outputs += finish([alone])
    return workdirs, outputs


NETWORK = ("backbone/", "projector/", "prototypes/", "classifier/")


def state(workdir, step=STEPS):
    """All weights after a step in one array, and the labels and counts."""
    arrays = checkpoints.load(workdir / "checkpoints" / f"{step:010d}").arrays
    weights = [
        array.ravel()
        for name, array in sorted(arrays.items())
        if name.startswith(NETWORK)
    ]
    counts = {
        name: array
        for name, array in arrays.items()
        if np.issubdtype(array.dtype, np.integer)
        and not name.startswith("monitor/")  # nearest clusters may nearly tie
    }
    return np.concatenate(weights), counts


@pytest.mark.parametrize("method", METHODS)
def test_two_hosts_equal_one_process_and_the_chief_writes(
    tmp_path, images, method
):
    """All promises of a pair in one test: runs are long, and would be made
    again by each process of the suite that asks for them."""
    workdirs, outputs = train_apart_and_alone(method, tmp_path, images)
    check_two_hosts_of_half_the_batch_equal_one_process(workdirs, outputs)
    check_only_the_chief_writes_but_for_what_the_check_found(workdirs)
    check_each_epoch_is_told_once(outputs)


def check_two_hosts_of_half_the_batch_equal_one_process(workdirs, outputs):
    chief, _, alone = workdirs
    two, one = state(chief), state(alone)
    assert "2 replicas" in outputs[0]
    np.testing.assert_equal(one[1], two[1])
    # Rounding of 1e-7 becomes 1e-4 where it carries a pixel over ReLU's kink;
    # gradients of half the batch, or its statistics, would differ in the
    # first digit.
    moved = np.linalg.norm(one[0] - state(alone, step=1)[0])
    assert np.linalg.norm(two[0] - one[0]) < 0.01 * moved


def check_only_the_chief_writes_but_for_what_the_check_found(workdirs):
    chief, second, _ = workdirs
    written = {path.name for path in chief.iterdir()}
    assert {"config.flags", "metrics.jsonl", "checkpoints"} <= written
    assert {path.name for path in second.iterdir()} == {"cache"}


def check_each_epoch_is_told_once(outputs):
    chief, second, alone = outputs
    assert chief.count("epoch 1 ·") == alone.count("epoch 1 ·") == 1
    assert "epoch 1 ·" not in second


def test_a_host_that_refuses_its_images_ends_the_others(tmp_path, images):
    hosts = [f"127.0.0.1:{port}" for port in processes.free_ports(2)]
    pair = [
        start(
            tmp_path / "run",
            where,
            "--strategy=multi_worker",
            cluster=member(hosts, index),
        )
        for index, where in enumerate((images, "/nowhere"))
    ]
    try:
        errors = [one.communicate(timeout=TIMEOUT)[1] for one in pair]
    finally:
        for process in pair:
            process.kill()
            process.wait()
    assert [one.returncode for one in pair] == [2, 2], errors
    assert "another host of TF_CONFIG has ended" in errors[0]
    assert "/nowhere" in errors[1]
    assert "Traceback" not in errors[0] + errors[1]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_ends_the_others_and_the_run_goes_on(
    tmp_path, images, killed
):
    hosts = [f"127.0.0.1:{port}" for port in processes.free_ports(2)]
    workdir = tmp_path / "run"

    def pair():
        return [
            start(
                workdir,
                images,
                "--strategy=multi_worker",
                "--steps=12",
                cluster=member(hosts, index),
            )
            for index in range(2)
        ]

    first = pair()
    try:
        for line in first[0].stdout:
            if line.startswith("epoch 1"):
                break
        first[killed].kill()
        _, errors = first[1 - killed].communicate(timeout=NOTICED)
    finally:
        for process in first:
            process.kill()
            process.wait()
    assert first[1 - killed].returncode == 2, errors[-3000:]
    (said,) = (x for x in errors.splitlines() if x.startswith("train: "))
    assert "another host of TF_CONFIG has ended" in said
    assert "Traceback" not in errors
    step = checkpoints.latest(workdir).step
    assert 1 <= step < 12  # the first host may end before it saves step 2
    outputs = finish(pair())
    assert f"from step {step}" in outputs[0]
    assert checkpoints.latest(workdir).step == 12
