"""What answers before TensorFlow is imported, which takes seconds of a core."""

import importlib
import json
from importlib import metadata

import pytest

from tests.support import processes
from tests.support.commands import NO_PLAN
from tfclust import __main__, methods
from tfclust.backbones import resnet, settings
from tfclust.methods.configs.table import CONFIGS

# Runs commands as `python -m` does, one after the other in one interpreter.
COMMANDS = """
import contextlib, io, json, runpy, sys

answers = []
for name, *arguments in json.loads(sys.argv[1]):
    sys.argv, words = [name, *arguments], io.StringIO()
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        try:
            runpy.run_module("tfclust." + name, None, "__main__", True)
        except SystemExit as end:
            code = end.code
    slow = {"tensorflow", "keras", "tensorflow_datasets", "scipy", "sklearn"}
    found = sorted(slow & set(sys.modules))
    answers.append([code, words.getvalue(), found])
print(json.dumps([answers, len(sys.modules)]))
"""
ABSENT = "/dev/null/at/all"
RUN = ("--data=digits:", f"--workdir={ABSENT}", "--epochs=1")
REFUSED = [
    (("train", "--rat=3"), "Unknown command line flag 'rat'"),
    (("train", "--method=swaw"), "--method must be one of swav, deepcluster,"),
    (("train", "--method=sela", "--queue_rows=8"), "only by method=swav"),
    (("train", *RUN, "--temperature=0"), "temperature must be at least"),
    (
        ("train", *RUN, NO_PLAN, "--stored_size=96"),
        "stored_size=96, a view of 224 px",
    ),
    (("train", *RUN, "--backbone=resnet5"), "backbone must be one of small,"),
    (
        ("train", *RUN, NO_PLAN, "--warmup_epochs=2"),
        "warmup_epochs must be at most",
    ),
    (("train", *RUN[1:]), "data must be given"),
    (("train", RUN[0], RUN[2]), "workdir must be given"),
    (("train", *RUN[:2]), "workdir must be a folder that can be written"),
    (("train", "--data=fodler:a", RUN[1]), "data must be a folder that exists"),
    (("advise",), "data must be given"),
    (("advise", "--data=fodler:a"), "data must be a folder that exists"),
    (("advise", RUN[0], f"--output={ABSENT}"), "output must be in a folder"),
    (("advise", *RUN, "--minutes=5"), "minutes is for a plan"),
    (("advise", RUN[0], "--output=/tmp"), "Received: the folder /tmp"),
    (
        ("train", *RUN, "--data=fodler:a"),
        "data must be a folder that exists, or a URI such as",
    ),
    (("train", *RUN, f"--data=folder:{ABSENT}"), "Found nothing at /dev/null"),
    (("train", *RUN, f"--eval_data=folder:{ABSENT}"), "eval_data=folder:"),
    (("evaluate",), "either workdir or saved_model"),
    (("evaluate", f"--workdir={ABSENT}"), "holds no run"),
    (("evaluate", f"--saved_model={ABSENT}"), "no SavedModel in /dev/null"),
    (("evaluate", "--protocols=knm", RUN[1]), "protocols must be one of knn"),
    (("train", *RUN, "--init_from=imagenet"), "init_from=imagenet means the"),
    (("export",), "workdir must be given"),
    (("export", f"--init_from={ABSENT}"), "output must be given with init"),
    (
        ("export", f"--init_from={ABSENT}", "--output=/tmp"),
        f"init_from={ABSENT} does not exist",
    ),
    (("export", RUN[1], "--init_from=a"), "give either workdir or init_from"),
    (("export", RUN[1], "--width=2"), "a run has its own backbone"),
    (("export", RUN[1], "--image_size=64"), "image_size and resize_size are"),
    (("export", f"--workdir={ABSENT}"), "holds no run"),
    (("cluster",), "give either workdir or saved_model"),
    (("cluster", RUN[1]), "holds no run"),
    (("cluster", RUN[1], "--data=digits:"), "output must be given with"),
    (("cluster", RUN[1], "--max_images=9"), "output must be given with"),
    (("cluster", RUN[1], "--output=a.txt"), "ending in .csv or .parquet"),
    (
        ("cluster", RUN[1], "--num_clusters=some"),
        "a number from 1 to 50,000 (the images",
    ),
    (("cluster", RUN[1], "--copy_into=a", "--link_into=b"), "give either copy"),
    (("cluster", "--compare=a.csv"), "compare must name two tables"),
    (("cluster", f"--saved_model={ABSENT}"), "data must be given with"),
    (("embed", RUN[1]), "output must be a file ending in .npz or"),
    (("embed", RUN[1], "--output=a.npz"), "holds no run"),
    (("report",), "give either workdir"),
    (("report", RUN[1]), "holds no run"),
    (("report", "--workdirs=a,b,a"), "workdirs must name each run once"),
    (("report", "--workdirs=a,b"), "output must be given with workdirs"),
    (("__main__", "trian"), "one of advise, train, evaluate, report,"),
    (("__main__", "--data=a"), "Received: --data=a."),
    (("__main__", "train", "--rat=3"), "train: Unknown command line flag"),
    (("sweep", *RUN), "vary must name a knob"),
    (("sweep", *RUN, "--vary=a=1"), "a knob that swav does not have"),
    (("sweep", *RUN, "--vary=epsilon=1|0"), "epsilon must be at least"),
]
HELP = [
    ((name, "--help"), f"Usage: python -m tfclust.{name} --flag=value")
    for name in (
        "train",
        "evaluate",
        "export",
        "sweep",
        "cluster",
        "embed",
        "report",
    )  # fmt: skip
] + [
    (("train", "--helpfull"), "--sinkhorn_iters=N"),
    (("__main__",), "cluster   Says which cluster each image is in"),
    (("__main__", "--help"), "Usage: tfclust COMMAND --flag=value"),
    (("__main__", "cluster", "--help"), "python -m tfclust.cluster --flag"),
]
PACKAGES = (
    "assignment",
    "backbones",
    "data",
    "evaluation",
    "methods",
    "optimizers",
    "saved_model",
)


@pytest.fixture(scope="module")
def asked():
    """An answer to each command, and the number of modules that all took."""
    lines = json.dumps([command for command, _ in REFUSED + HELP])
    done = processes.run(["-c", COMMANDS, lines], fresh=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_needs_no_tensor_is_refused_before_tensorflow_is_imported(asked):
    for (command, words), answer in zip(REFUSED, asked[0], strict=False):
        code, told, slow = answer
        assert (code, slow) == (2, []), command
        assert words in told and told.count("\n") == 1, (command, told)


def test_help_needs_no_tensorflow(asked):
    for (command, words), answer in zip(
        HELP, asked[0][-len(HELP) :], strict=True
    ):
        code, told, slow = answer
        assert (code, slow) == (0, []), command
        assert words in told


def test_help_of_training_opens_with_ten_flags_and_tells_of_the_others(asked):
    told = {
        tuple(c): a[1]
        for (c, _), a in zip(HELP, asked[0][-len(HELP) :], strict=True)
    }
    short, full = told["train", "--help"], told["train", "--helpfull"]
    assert short.count("\n  --") == 11  # and --flagfile
    assert f"{full.count(chr(10) + '  --') - 11} more" in short
    assert "--workdir" in short and "--sinkhorn_iters" not in short


def test_tfclust_is_a_command_of_its_own():
    (found,) = metadata.entry_points(group="console_scripts", name="tfclust")
    assert found.load() is __main__.main


def test_all_refusals_together_import_few_modules(asked):
    # 330 take 0.5 s of a core; TensorFlow brings thousands, and takes 5 s.
    assert asked[1] < 500


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_every_name_that_it_lists(package):
    module = importlib.import_module(f"tfclust.{package}")
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_methods_and_their_knobs_have_the_same_names():
    assert [*methods.METHODS] == [*CONFIGS]
    for name, method in methods.METHODS.items():
        assert method.Config is CONFIGS[name]


def test_resnets_known_without_keras_are_those_that_are_built():
    assert tuple(resnet.ARCHITECTURES) == settings.RESNETS
