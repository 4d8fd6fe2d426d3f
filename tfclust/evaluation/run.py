"""The chosen protocols on every backbone, and what images they need."""

import dataclasses

from tfclust.evaluation.classes import (
    check_two_classes,
    labelled,
    with_classes_of,
)
from tfclust.evaluation.config import EvaluationConfig
from tfclust.evaluation.network import as_network
from tfclust.evaluation.protocols.table import PROTOCOLS
from tfclust.evaluation.subject import Subject


def evaluate(
    backbones,
    train,
    test,
    config=None,
    *,
    image_size,
    resize_size=None,
    say=None,
    store=None,
    done=None,
):
    """Figures of several backbones on the same images.

    Args:
      backbones: dict from a name, such as "trained" or "pixels", to a
        `Network`, or to a callable in inference mode: float32 images
        `[B, S, S, 3]` in [0, 1] to `[B, F]`.
      train: `data.Source` with labels that kNN and the linear probe learn
        from; None if neither is asked for.
      test: `data.Source` on which figures are measured.
      config: `EvaluationConfig`, or None.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `data.default_resize(image_size)`.
      say: called with a line of text when a protocol is done, or None.
      store: `FeatureStore` where features are kept for the next evaluation,
        or None.
      done: called with a name, a protocol's name, the `Subject` and the figures
        when these are there, or None.

    Returns:
      `{name: {protocol: {figure: value}}}`; shares between 0 and 1. Figures of
      "trained" may have a `verdict`, a sentence.

    Raises:
      ValueError: if a protocol lacks labels or images, before any forward
        pass.
    """
    config = for_images(config or EvaluationConfig(), test)
    check_sources(config, train, test)
    train, test = _with_labels(config, train, test)
    if answering(config):
        test = with_classes_of(train, test)
    networks = {name: as_network(of) for name, of in backbones.items()}
    check_network(config, next(iter(networks.values())), train)
    results: dict = {}
    for name, network in networks.items():
        if config.feature_relu:
            network = network.rectified()
        subject = Subject(
            network,
            train,
            test,
            image_size=image_size,
            resize_size=resize_size,
            batch_size=config.evaluation_batch_size,
            store=store,
        )
        results[name] = {}
        for protocol in config.protocols:
            figures = PROTOCOLS[protocol].run(subject, config)
            results[name][protocol] = figures
            if say is not None:
                say(f"{name}: {protocol} {_short(protocol, figures)}")
            if done is not None:
                done(name, protocol, subject, figures)
    _add_verdicts(config.protocols, results)
    return results


def check_network(config, network, train):
    """Raises ValueError if a network lacks what a protocol looks at.

    Args:
      config: `EvaluationConfig`, from `for_images`.
      network: `Network`.
      train: `data.Source`, or None.
    """
    for protocol in config.protocols:
        check = PROTOCOLS[protocol].check_network
        if check is not None:
            check(config, network, train)


def for_images(config, source):
    """`config` with its protocols by name.

    Args:
      config: `EvaluationConfig`; without protocols, all are meant that are
        the default for the kind of labels that the images have.
      source: `data.Source` to measure on, or None.
    """
    if config.protocols:
        return config
    kind = _kind_of_labels(source)
    named = tuple(n for n, of in PROTOCOLS.items() if kind in of.default_for)
    return dataclasses.replace(config, protocols=named)


def _kind_of_labels(source):
    """One of `config.KINDS`; "labels" where there is no source."""
    if source is None or source.labels is not None:
        return "labels"
    if source.label_sets is not None:
        return "label sets"
    return "masks" if source.has_masks else "no labels"


def verdicts(results):
    """The sentences in what `evaluate` returned."""
    return [
        figures["verdict"]
        for of in results.values()
        for figures in of.values()
        if figures.get("verdict")
    ]


def _add_verdicts(protocols, results):
    for name in protocols:
        judge = PROTOCOLS[name].verdict
        if judge is not None and "trained" in results:
            of = {backbone: found[name] for backbone, found in results.items()}
            results["trained"][name]["verdict"] = judge(of)


def check_sources(config, train, test):
    """Raises ValueError if a protocol cannot be run on these images.

    Args:
      config: `EvaluationConfig`, from `for_images`.
      train: `data.Source`, or None.
      test: `data.Source`, or None.
    """
    check_source(config, "test_data", test)
    check_source(config, "train_data", train)
    train, test = _with_labels(config, train, test)
    if not learning(config):
        return
    shared = test.num_shared(train)
    if shared:
        raise overlap_error(
            f"{shared} of {test.num_images}", train.uri, test.uri
        )
    needed = any(PROTOCOLS[name].labels for name in learning(config))
    if needed and train.labels is not None:
        check_two_classes(train)
    if answering(config):
        with_classes_of(train, test)  # raises
    for name in config.protocols:
        check = PROTOCOLS[name].check
        if check is not None:
            check(config, train, test)


def overlap_error(shared, train_uri, test_uri):
    """The ValueError for test images that are also training images."""
    return ValueError(
        "test_data must hold other images than train_data, or each image finds "
        f"itself. Received: test_data={test_uri}, of which {shared} images are "
        f"in train_data={train_uri}. Give other images, or ask only for "
        "protocols=clusters."
    )


def check_source(config, argument, source):
    """Raises ValueError if `source` lacks what a protocol needs.

    Args:
      config: `EvaluationConfig`.
      argument: "train_data" or "test_data".
      source: `data.Source`, or None.
    """
    users = config.protocols if argument == "test_data" else learning(config)
    for protocol in users:
        if source is None:
            raise ValueError(
                f"the protocol {protocol} needs {argument}. Received: none. "
                f"Give --{argument}=URI, or leave {protocol} out of protocols."
            )
        if not _can_tell(PROTOCOLS[protocol], source):
            why = "".join(f" ({notice})" for notice in source.notices)
            raise ValueError(
                f"the protocol {protocol} compares with labels, and {argument} "
                f"has none. Received: {argument}={source.uri}{why}. Give "
                "images in class folders, or leave "
                f"{protocol} out of protocols."
            )
        check_test = PROTOCOLS[protocol].check_test
        if argument == "test_data" and check_test is not None:
            judges = PROTOCOLS[protocol].judges
            check_test(config, labelled(argument, source) if judges else source)


def _can_tell(protocol, source):
    """Whether a source has labels of a kind that the protocol compares with."""
    if source.label_sets is not None:
        return protocol.label_sets or not protocol.labels
    return source.labels is not None or not protocol.labels


def learning(config):
    """The protocols asked for that learn from training images."""
    return [name for name in config.protocols if PROTOCOLS[name].learns]


def judging(config):
    """The protocols asked for that compare with labels of any kind."""
    return [name for name in config.protocols if PROTOCOLS[name].judges]


def _with_labels(config, train, test):
    """Both without images that have no label, where these would be a class."""
    if answering(config):
        train = labelled("train_data", train)
    if judging(config):
        test = labelled("test_data", test)
    return train, test


def answering(config):
    """Those of `learning` that tell the classes of test images by it."""
    return [name for name in learning(config) if PROTOCOLS[name].answers]


def _short(protocol, figures):
    """The most important figures of a protocol, in a line."""
    return ", ".join(
        f"{column.figure} {figures[column.figure]:.3f}"
        for column in PROTOCOLS[protocol].columns(figures)
        if column.said
    )
