"""Sixteen clients at a server: latency, and whether every answer is right.

    python tests/benchmarks/bench_serving.py [--quick] [--seconds=60]

To hold: no answer is lost or belongs to another image, while other clients
send what is no image, nothing, and more than the server takes; the server's
memory does not grow. Each answer is compared with what Python says of its
image. Plain and frozen exports of a ResNet-18 (96 pixels), by gRPC, as files
(JPEG of about 400 x 550 pixels) and as floats, in batches of 1, 8 and 32.

The server is `export.serving.local_server` in a process of its own:
TensorFlow's C++ runtime behind gRPC in Python, without TF Serving's batching.
`--url` names another server, which has the models `plain` and `frozen` of
`--exports`.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np

PHOTOS = ROOT.parent / "shared" / "data" / "photos.zip"
CLIENTS, SECONDS = 16, 60
BATCHES, KINDS = (1, 8, 32), ("files", "floats")
IMAGES, SIZE = 60, 96
DEADLINE = 600.0  # seconds; how long it takes is measured, not bounded
TOLERANCE = 1e-3  # of features up to about 3; images differ by more
BAD = (b"", b"x" * 5000, b"\xff\xd8\xff" + bytes(300))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few small cases")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--url", default="", help="a server that runs")
    parser.add_argument("--exports", default="", help="folder for the exports")
    options = parser.parse_args(arguments)
    seconds = 1 if options.quick else options.seconds
    size = 16 if options.quick else SIZE
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.exports or temporary)
        make_exports(folder, options.quick, size)
        print_first_calls(folder)
        files, floats, wanted = images_of(folder, size)
        process, url = (None, options.url) if options.url else start(folder)
        try:
            print("model   kind    batch  images/s  p50 ms  p99 ms    wrong")
            for model in ("plain", "frozen"):
                for kind in KINDS:
                    for batch in BATCHES[:2] if options.quick else BATCHES:
                        given = files if kind == "files" else floats
                        case = model, kind, batch
                        load(url, case, given, wanted, options.clients, seconds)
                        if process is not None:
                            print(f"    server's memory: {memory(process)} MiB")
        finally:
            if process is not None:
                process.terminate()
                process.wait(30)


def make_exports(folder, quick, size):
    from tests.support.exported import small_backbone, stand_in
    from tfclust import backbones, saved_model

    if (folder / "frozen" / "1").is_dir():
        return
    backbone = small_backbone()
    if not quick:
        config = backbones.BackboneConfig(backbone="resnet18")
        backbone = backbones.from_config(config, image_size=size)
    method = stand_in(backbone)
    # Sixteen first calls at once would each optimise the graph.
    files = tuple(some_files())
    for name, how in (
        ("cold", {}),
        ("plain", {"warmup_images": files}),
        ("frozen", {"warmup_images": files, "frozen": True}),
    ):
        saved_model.save(
            method,
            folder / name,
            image_size=size,
            extras=saved_model.Extras(**how),
        )


def some_files():
    """The first photos of the test set."""
    with zipfile.ZipFile(PHOTOS) as photos:
        names = sorted(
            n for n in photos.namelist() if "/test/" in n and n.endswith(".jpg")
        )
        step = len(names) // IMAGES
        return [photos.read(n) for n in names[: IMAGES * step : step]]


def images_of(folder, size):
    """Files, their floats as the server decodes them, and their features."""
    import tensorflow as tf

    from tfclust import saved_model

    files = some_files()
    loaded = saved_model.load(folder / "plain")
    decoded = saved_model.decode(tf.constant(files), size, loaded.resize_size)
    floats = decoded.images.numpy()
    return files, floats, loaded.model(floats).numpy()


def start(folder):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "export.serving.local_server"),
            f"--models={folder}/plain,{folder}/frozen",
            *("--port=0", "--rest_port=0", f"--threads={CLIENTS + 4}"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("Listens: "):
            return process, line.split()[1]
    raise SystemExit("the server did not start")


def load(url, case, given, wanted, clients, seconds):
    """Clients for some seconds; prints a line, and fails on a wrong answer."""
    from export.serving import sending, transport

    model, kind, batch = case
    found = transport.connect(url)
    about = found.describe(model, None, None, 60)
    name = "serving_default" if kind == "files" else "images"
    (alias,) = about.signatures[name].inputs
    target = sending.Target(
        model, about.version, name, alias, about.signatures[name].outputs
    )
    ends = time.monotonic() + seconds
    times, wrong, bad = [], [], []

    def client(number):
        random = np.random.default_rng(number)
        while time.monotonic() < ends:
            rows = random.integers(len(wanted), size=batch)
            sent = [given[i] for i in rows]
            sent = sent if kind == "files" else np.stack(sent)
            begin = time.monotonic()
            try:
                answer = found.predict(
                    target, {alias: sent}, ["features"], DEADLINE
                )
            except Exception as error:
                wrong.append(repr(error))
                continue
            times.append(time.monotonic() - begin)
            off = np.abs(answer["features"] - wanted[rows]).max()
            if not off < TOLERANCE:
                wrong.append(f"features are off by {off}")

    def vandal():
        """Nothing of it may be answered, or harm the others."""
        files = sending.Target(
            *(model, about.version, "serving_default", "image_bytes"),
            about.signatures["serving_default"].outputs,
        )
        while time.monotonic() < ends:
            answer = found.predict(
                files,
                {"image_bytes": list(BAD)},
                ["status", "cluster"],
                DEADLINE,
            )
            if b"ok" in answer["status"] or set(answer["cluster"]) != {-1}:
                bad.append(str(answer))
            for inputs in (
                {"image_bytes": []},
                {"image_bytes": [b"x" * (160 << 20)]},
                {"nothing": [b"x"]},
            ):
                try:
                    found.predict(files, inputs, ["status"], DEADLINE)
                    bad.append(f"answered to {list(inputs)}")
                except transport.Fault:
                    continue
            time.sleep(0.5)

    threads = [
        threading.Thread(target=client, args=(i,)) for i in range(clients)
    ]
    threads.append(threading.Thread(target=vandal))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.close()
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    rate = len(times) * batch / seconds
    print(
        f"{model:7} {kind:7} {batch:5} {rate:9.0f} {p50:7.0f} {p99:7.0f} "
        f"{len(wrong):3} of {len(times)}",
        flush=True,
    )
    if wrong or bad:
        raise SystemExit(f"wrong: {(wrong + bad)[:3]}")


def memory(process):
    """MiB that the server has had at most."""
    words = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    line = next(x for x in words.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) >> 10


FIRST = """
import sys, time
sys.path.insert(0, {root!r})
from tfclust.runtime import quiet
quiet.import_tensorflow()
import numpy as np
from export.serving.local.models import Models
from tests.benchmarks.bench_serving import some_files
begin = time.monotonic()
models = Models({{"m": {folder!r}}})
loaded = time.monotonic() - begin
session = models.find("m").session
files = np.array(some_files()[:8], object)
spans = []
for _ in range(5):
    begin = time.monotonic()
    session.run("serving_default", {{"image_bytes": files}})
    spans.append(1e3 * (time.monotonic() - begin))
print(f"load {{loaded:.2f}} s, first call {{spans[0]:.0f}} ms, "
      f"fifth {{spans[4]:.0f}} ms")
"""


def print_first_calls(folder):
    """The first call of 8 files, without and with warm-up; own processes."""
    for name in ("cold", "plain"):
        code = FIRST.format(root=str(ROOT), folder=str(folder / name))
        print(f"{name}: ", end="", flush=True)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
