"""Runs killed with SIGKILL and restarted, against runs that never stopped.

    python tests/benchmarks/bench_kills.py [--quick]

Every method trains once undisturbed, and once killed at random moments: in the
check of the images, in a reassignment, in a checkpoint, in a step. In the end
all arrays of the two last checkpoints must be the same bit for bit, and all
figures of metrics.jsonl but the speeds. 50 kills in all; each start is a whole
`tfclust.train`, so that this takes a while. The exit code is 1 if any differs.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

SCAN, REASSIGN, CHECKPOINT, STEP = "scan", "reassign", "checkpoint", "step"
NUM_KILLS = 50
NUM_IMAGES, NUM_CLASSES, STEPS_PER_EPOCH = 64, 5, 4
TIMEOUT = 900  # seconds a start
COMMON = (
    "--backbone=small --image_size=8 --batch_size=16 --epochs=8 "
    "--flip_probability=0 --knn_images=0 --learning_rate=0.1 "
    f"--checkpoint_steps=3 --flagfile={os.devnull}"  # hence no plan
)
# Memories, queues and stages of every kind, in few steps.
METHODS = {
    "swav": "--num_clusters=5 --projection_width=8 --hidden_width=16 "
    "--queue_rows=32 --queue_start_epoch=1 --freeze_steps=2",
    "deepcluster_v2": "--num_clusters=5,6 --projection_width=8 "
    "--hidden_width=16",
    "deepcluster": "--num_clusters=5 --pca_width=4",
    "sela": "--num_clusters=5,6 --num_label_steps=16",
    "sela_v2": "--num_clusters=5,6 --projection_width=8 --hidden_width=16",
    "odc": "--num_clusters=5 --projection_width=8 --hidden_width=16",
    "coke": "--num_clusters=5,6 --projection_width=8 --hidden_width=16 "
    "--second_stage_epoch=4",
    "fixed_labels": "--pseudo_labels=source",
}
REASSIGNS = ("deepcluster_v2", "deepcluster", "sela", "sela_v2")
ONCE = ("odc",)  # reassigns before its first step alone


class Kill(NamedTuple):
    """When a start is killed.

    moment: which of the four. count: at its how-manieth call in this start.
    delay: seconds after it begins; a checkpoint goes by `stage` instead, the
    function of `checkpoints` in which it ends.
    """

    moment: str
    count: int = 1
    delay: float = 0.0
    stage: str = ""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="one method, four kills"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    names = ["sela"] if options.quick else list(METHODS)
    total = 4 if options.quick else NUM_KILLS
    print(
        f"\n{total} kills of runs on {NUM_IMAGES} images, seed {options.seed}"
    )
    differing, killed = [], collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(pathlib.Path(folder) / "images")
        for place, name in enumerate(names):
            number = total // len(names) + (place < total % len(names))
            kills = plan(name, number, random.Random(f"{options.seed}{name}"))
            began = time.perf_counter()
            found, done = compare(name, kills, images, pathlib.Path(folder))
            killed.update(done)
            differing += [name] * bool(found)
            told = ", ".join(f"{n} in a {m}" for m, n in done.items())
            print(
                f"{name:15} {found or 'equal'} after {sum(done.values())} kills"
                f" ({told}), {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    print(f"{sum(killed.values())} kills, {len(differing)} methods differ")
    if sum(killed.values()) < total:
        raise SystemExit(f"kills: {total} were planned; runs ended before.")
    if differing:
        raise SystemExit(f"kills: not the same bits: {', '.join(differing)}.")
    return killed


def plan(name, number, generator):
    """`number` kills of a method: the scan first, which is made but once."""
    kinds = [SCAN] + [REASSIGN] * (name in (*REASSIGNS, *ONCE))
    later = [CHECKPOINT, STEP] + [REASSIGN] * (name in REASSIGNS)
    while len(kinds) < number:
        some = generator.sample(later, len(later))
        kinds += some[: number - len(kinds)]
    return [_kill(kind, generator) for kind in kinds[:number]]


def _kill(moment, generator):
    if moment == SCAN:
        return Kill(moment, generator.randint(1, NUM_IMAGES))
    if moment == CHECKPOINT:
        stages = ("_entry", "_write_manifest", "_flush", "_newest_first")
        stage = generator.choice(stages)
        # A checkpoint has some dozens of entries, and is flushed twice.
        last = {"_entry": 120, "_flush": 4}.get(stage, 2)
        return Kill(moment, generator.randint(1, last), stage=stage)
    if moment == REASSIGN:
        return Kill(moment, delay=generator.uniform(0.0, 1.0))
    return Kill(moment, generator.randint(1, 4), generator.uniform(0.0, 0.05))


def compare(name, kills, images, folder):
    """Trains a method undisturbed and killed.

    Returns:
      what differs, as words, or None; `{moment: kills}` that were met.
    """
    whole, parts = folder / f"{name}-whole", folder / f"{name}-parts"
    met: collections.Counter = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        undisturbed = beside.submit(start, name, images, whole)
        differing = None
        for kill in kills:
            killed = start(name, images, parts, kill)
            if not killed:  # the run came to its end before; once more
                undisturbed.result()
                differing = differing or difference(whole, parts)
                shutil.rmtree(parts)
                killed = start(name, images, parts, kill)
            met[kill.moment] += killed
        start(name, images, parts)
        undisturbed.result()
    return differing or difference(whole, parts), met


def start(name, images, workdir, kill=None):
    """One start of a run; whether it was killed."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(kill)]
        + [f"--method={name}", f"--data=folder:{images}"]
        + [*COMMON.split(), *METHODS[name].split(), f"--workdir={workdir}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    killed = kill is not None and done.returncode == -signal.SIGKILL
    if not killed and done.returncode:
        raise RuntimeError(
            f"exit code {done.returncode}: {done.stderr[-3000:]}"
        )
    return killed


def difference(whole, parts):
    """What two runs do not have in common, as words; None for nothing."""
    from tfclust.engine.figures import names
    from tfclust.runs import checkpoints, metrics

    expected, found = (checkpoints.latest(path) for path in (whole, parts))
    if expected.step != found.step:
        return f"step {found.step} instead of {expected.step}"
    if expected.arrays.keys() != found.arrays.keys():
        return "other arrays"
    for name, array in expected.arrays.items():
        if array.tobytes() != found.arrays[name].tobytes():
            return f"{name} differs"
    figures = [
        [
            {k: v for k, v in epoch.items() if k not in names("timed")}
            for epoch in metrics.read_metrics(path)
        ]
        for path in (whole, parts)
    ]
    return None if figures[0] == figures[1] else "metrics.jsonl differs"


def write_images(folder):
    """Digits as PNG files in class folders; returns the folder."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    images = np.uint8(load_digits().images[:NUM_IMAGES] * 15.9)
    for number, pixels in enumerate(images):
        where = folder / f"class{number % NUM_CLASSES}"
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(where / f"{number}.png")
    return folder


def work(kill, arguments):
    """`tfclust.train` in this process, which kills itself."""
    from tfclust import train
    from tfclust.cli import flags, recipe_flags

    if kill is not None:
        arm(kill)
    recipe_flags.define(train.PlanConfig)
    flags.run(train.main, ["train.py", *arguments])


def arm(kill):
    """Puts the kill where its moment is."""
    from tfclust.data.reading import scan
    from tfclust.engine import loop
    from tfclust.runs import checkpoints

    if kill.moment == SCAN:
        check = scan.check_images

        calls = _calls()  # over all blocks

        def check_images(read, *rest):
            return check(_at_call(read, kill, calls), *rest)

        scan.check_images = check_images
        # What was checked is kept at once, so that a restart meets a part.
        scan._BLOCK, scan._WRITE_EVERY = NUM_IMAGES // 8, 0.0
    elif kill.moment == CHECKPOINT:
        function = getattr(checkpoints, kill.stage)
        save = checkpoints.save

        def armed_save(*arguments, **knobs):
            setattr(checkpoints, kill.stage, stage)
            try:
                return save(*arguments, **knobs)
            finally:
                setattr(checkpoints, kill.stage, function)

        stage = _at_call(function, kill)
        checkpoints.save = armed_save  # reading has entries too
    elif kill.moment == REASSIGN:
        reassign = loop._Clock.reassign

        def armed_reassign(clock, method, step):
            due = method.reassign_due(step)
            if due:
                _later(kill.delay)
            reassign(clock, method, step)
            if due:
                _now()  # at its end, where it took less than the delay

        loop._Clock.reassign = armed_reassign
    else:
        loop._Clock.train = _at_call(loop._Clock.train, kill)


def _calls():
    """The numbers of calls; threads may share them."""
    return iter(range(1, sys.maxsize))


def _at_call(function, kill, calls=None):
    """`function`, during whose call number `kill.count` the process ends."""
    calls = calls or _calls()

    def counted(*arguments, **knobs):
        if next(calls) == kill.count:
            if not kill.delay:
                _now()
            _later(kill.delay)
        return function(*arguments, **knobs)

    return counted


def _later(seconds):
    timer = threading.Timer(seconds, _now)
    timer.daemon = True
    timer.start()


def _now():
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        spec = json.loads(sys.argv[2])
        work(spec and Kill(*spec), sys.argv[3:])
    else:
        main()
