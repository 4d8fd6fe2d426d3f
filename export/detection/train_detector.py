"""Trains RetinaNet on the backbone of a SavedModel, and exports the detector.

python -m export.detection.train_detector --saved_model=exports/mine \\
    --data='voc:/my/boxes?split=train' --eval_data='voc:/my/boxes?split=test' \\
    --workdir=detectors/mine
"""

import contextlib
import dataclasses
import json
import pathlib

from export.detection.config import DetectorConfig
from tfclust.cli import flags
from tfclust.runtime import files, folders, locks, quiet, terminal

_PUBLISHED = "published.json"  # in the workdir


def main():
    """Trains RetinaNet on the backbone of a SavedModel.

    Writes into --workdir: checkpoints/, from which the same command resumes;
    metrics.jsonl; evaluation.json; left_out.txt; saved_model/<version>, the
    detector for servers, with encoded images in and boxes out.
    """
    config = flags.read(DetectorConfig)
    from export.detection import annotated

    for argument in ("data", "eval_data"):
        if getattr(config, argument):
            annotated.parted(getattr(config, argument), argument)
    workdir = folders.writable("workdir", config.workdir)
    if config.output:  # before hours of training
        folders.writable("output", config.output)
    with locks.lock(workdir):
        return run(config, workdir)


def run(config, workdir):
    """Reads, trains, measures, exports; returns the exit code."""
    from tfclust.saved_model.versions import newest_version

    newest_version(config.saved_model)  # before anything takes time
    quiet.import_tensorflow()
    from export.detection import mean_ap, network, training

    network.require_keras_hub()
    if config.eval_data:
        mean_ap.require_pycocotools()
    data, held_out = _read(config, workdir)
    trainer, stopped = training.train(config, data, workdir)
    if stopped:
        return flags.INTERRUPTED
    detector = _in_float32(trainer, config)
    figures = None
    if held_out is not None:
        figures = training.evaluate(detector, held_out, config.eval_batch_size)
        words = json.dumps(figures, indent=1)
        files.write_text(workdir / "evaluation.json", words + "\n")
        _tell(figures)
    about = {
        "data": config.data,
        "num_images": len(data.names),
        "backbone": str(trainer.path),
        "recipe": dataclasses.asdict(config),
    }
    path = _published(detector, data, about, figures, config, workdir)
    terminal.say(f"SavedModel: {path}")
    return flags.DONE


def _published(detector, data, about, figures, config, workdir):
    """The version of this detector, which a repeated command finds again."""
    from export.detection import saving
    from tfclust.saved_model.versions import is_saved_model

    output = folders.expanded(config.output or workdir / "saved_model")
    record = {**about, "digest": data.digest(), "output": str(output.resolve())}
    record = json.loads(json.dumps(record))  # tuples become lists
    kept = workdir / _PUBLISHED
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        before = json.loads(kept.read_text("utf-8"))
        version = pathlib.Path(before["version"])
        if before["of"] == record and is_saved_model(version):
            return version
    about = {**about, "metrics": figures}
    path = saving.save(detector, data.class_names, output, about)
    words = json.dumps({"version": str(path.resolve()), "of": record}, indent=1)
    files.write_text(kept, words + "\n")
    return path


def _read(config, workdir):
    """The images to learn and those to measure on, told and listed."""
    from export.detection import annotated

    share = config.max_bad_share
    data = annotated.open_annotated(config.data, max_bad_share=share)
    annotated.tell(data, "data")
    left_out, held_out = data.left_out, None
    if config.eval_data:
        held_out = annotated.open_annotated(
            config.eval_data,
            argument="eval_data",
            class_names=data.class_names,
            max_bad_share=share,
        )
        annotated.tell(held_out, "eval_data")
        left_out = [*left_out, *held_out.left_out]
    lines = "".join(f"{terminal.one_line(one)}\n" for one in left_out)
    files.write_text(workdir / "left_out.txt", lines)
    return data, held_out


def _in_float32(trainer, config):
    """The detector as it is measured and served: half precision trains only."""
    if config.mixed_precision == "none":
        return trainer.detector
    from export.detection import training

    plain = dataclasses.replace(config, mixed_precision="none")
    twin = training.Trainer(plain, trainer.detector.num_classes).detector
    twin.model.set_weights(trainer.detector.model.get_weights())
    return twin


def _tell(figures):
    def shown(name):
        value = figures[name]
        return "none" if value is None else f"{100 * value:.1f}"

    terminal.say(
        f"COCO mAP {shown('map')}, mAP50 {shown('map50')}, mAP75 "
        f"{shown('map75')}; VOC07 mAP {shown('voc07')}, VOC12 mAP "
        f"{shown('voc12')}."
    )
    for name, value in sorted(figures["by_class"]["voc12"].items()):
        terminal.say(f"  {name}: VOC12 AP {100 * value:.1f}")


if __name__ == "__main__":
    flags.define(DetectorConfig)
    flags.run(main)
