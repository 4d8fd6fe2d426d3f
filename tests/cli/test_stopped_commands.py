"""Commands that are asked to stop, on one host and on several replicas."""

import json
import signal
import subprocess
import time

import pytest
from PIL import Image

from tests.support import processes
from tests.support.commands import TINY, command, environment
from tfclust.runs import checkpoints


def test_killed_training_saves_exits_with_130_and_goes_on(tmp_path):
    arguments = [*TINY, f"--workdir={tmp_path}", "--steps=2000"]
    arguments = ["-m", "tfclust.train", *arguments, "--knn_images=0"]
    process = processes.start(arguments, env=environment())
    try:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                process.send_signal(signal.SIGTERM)
                break
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "is saved in" in out
    step = checkpoints.latest(tmp_path).step
    assert 8 <= step < 2000
    limit = time.monotonic() + 100
    again = processes.start(arguments, env=environment())
    try:
        first = again.stdout.readline()
        while not first.startswith("Resumes swav") and time.monotonic() < limit:
            first = again.stdout.readline()
        assert f"from step {step:,}" in first
        # Ctrl-C, once steps are made.
        while not again.stdout.readline().startswith("epoch"):
            assert time.monotonic() < limit
        again.send_signal(signal.SIGINT)
        out, _ = again.communicate(timeout=120)
    finally:
        again.kill()
    assert again.returncode == 130 and "is saved in" in out
    assert checkpoints.latest(tmp_path).step > step


COUNTED = """
import os, signal, sys
from tfclust.cli import flags, recipe_flags
from tfclust import train
from tfclust.data.reading import scan

blocks, check = [], scan.check_images

def counted(read, count, tell):
    blocks.append(count)
    if len(blocks) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGINT)
    return check(read, count, tell)

scan.check_images = counted
recipe_flags.define(train.PlanConfig)
try:
    flags.run(train.main, ["train.py", *sys.argv[2:]])
finally:
    print("checked", sum(blocks))
"""


@pytest.mark.slow
def test_an_interrupted_check_of_the_images_goes_on_where_it_was(tmp_path):
    for i in range(300):  # more than a block
        image = Image.new("RGB", (8, 8), (i % 256, 0, 0))
        image.save(tmp_path / f"{i:03}.png")
    arguments = [*TINY[3:], f"--data=folder:{tmp_path}"]
    arguments += ["--knn_images=0", "--steps=1", f"--workdir={tmp_path / 'w'}"]
    stopped = processes.run(["-c", COUNTED, 2, *arguments])
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr == "train: interrupted.\n"
    assert not (tmp_path / "w" / "checkpoints").exists()
    done = processes.run(["-c", COUNTED, 0, *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"checked {300 - 256}\n")


MIRRORED = [*TINY, "--num_replicas=2", "--epochs=1"]


@pytest.mark.slow
def test_two_replicas_train_by_one_flag(tmp_path):
    done = command("train", *MIRRORED, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "2 replicas" in done.stdout
    assert checkpoints.latest(tmp_path).step == 4


def test_batch_that_replicas_cannot_share_is_refused(tmp_path):
    done = command(
        "train", *MIRRORED, f"--workdir={tmp_path}", "--batch_size=15"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "batch_size=15 with 2 replicas. Try 14" in line


def test_a_compiled_step_is_refused_on_several_replicas(tmp_path):
    """Before the images are opened, which may take long."""
    done = command(
        "train", *MIRRORED, f"--workdir={tmp_path}", "--jit_compile=true",
        f"--data=folder:{tmp_path}",
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "jit_compile=True with 2 replicas. Leave it out" in line


def start_worker(workdir, ports, index):
    """One of two hosts on this computer."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": cluster, "task": task})
    return processes.start(
        ["-m", "tfclust.train", *TINY, "--steps=2000", f"--workdir={workdir}"],
        env={**environment(), "TF_CONFIG": config},
        stderr=subprocess.STDOUT,
        fresh=index == 1,
    )


@pytest.mark.slow
def test_two_hosts_train_and_stop_together_when_one_is_asked(tmp_path):
    ports = processes.free_ports(2)
    workers = [start_worker(tmp_path, ports, index) for index in (0, 1)]
    outputs = ["", ""]
    try:
        for line in workers[0].stdout:
            outputs[0] += line
            if line.startswith("epoch 1"):
                workers[1].send_signal(signal.SIGTERM)
                break
        for index, worker in enumerate(workers):
            outputs[index] += worker.communicate(timeout=120)[0]
    finally:
        for worker in workers:
            worker.kill()
    told = "\n".join(outputs)
    assert [w.returncode for w in workers] == [130, 130], told
    # The first host alone tells of epochs.
    assert not any(line.startswith("epoch") for line in outputs[1].splitlines())
    saved = checkpoints.latest(tmp_path)
    assert saved.about["machine"]["replicas"] == 2
    assert f"step {saved.step} of 2000 is saved" in outputs[0]
