"""What `serve` writes is what a server's own parsers read."""

import json
import shutil

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from export.serving import checking, exports, serve
from tests.export.serving.conftest import MODEL
from tfclust.cli import flags
from tfclust.saved_model import labels

yaml = pytest.importorskip("yaml", reason="no dependency brings PyYAML")
FIELD = descriptor_pb2.FieldDescriptorProto


def status(*arguments):
    flags.define(serve.ServeConfig)
    return flags.status(serve.main, ["serve.py", *map(str, arguments)])


def message_class(name, fields):
    """A protobuf message of (name, number, kind, label), as TF Serving's."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="test", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name=name)
    for field, number, kind, repeated in fields:
        message.field.add(
            name=field,
            number=number,
            label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL,
            **kind,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"test.{name}")
    return message_factory.GetMessageClass(found)


INT = {
    "type": FIELD.TYPE_MESSAGE,
    "type_name": ".google.protobuf.Int64Value",
}
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto
BATCHING = message_class(
    "BatchingParameters",
    [
        ("max_batch_size", 1, INT, False),
        ("batch_timeout_micros", 2, INT, False),
        ("max_enqueued_batches", 3, INT, False),
        ("num_batch_threads", 4, INT, False),
        ("allowed_batch_sizes", 6, {"type": FIELD.TYPE_INT64}, True),
    ],
)


@pytest.fixture
def written(own_versions):
    """The folder of files for a model of two versions."""
    assert status(f"--models={own_versions}", "--stable=1") == 0
    return own_versions / "serving"


def test_models_config_is_read_by_tf_servings_message(written):
    config = text_format.Parse(
        (written / "models.config").read_text("utf-8"),
        model_server_config_pb2.ModelServerConfig(),
    )
    (model,) = config.model_config_list.config
    assert model.name == MODEL and model.base_path == f"/models/{MODEL}"
    assert model.model_platform == "tensorflow"
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_batching_config_is_read_and_ends_at_the_largest_batch(written):
    batching = text_format.Parse(
        (written / "batching.config").read_text("utf-8"), BATCHING()
    )
    assert list(batching.allowed_batch_sizes) == [1, 2, 4, 8, 16, 32]
    # Else the server does not start.
    assert batching.max_batch_size.value == 32
    assert batching.batch_timeout_micros.value == 2000


def test_monitoring_config_names_the_path_that_is_scraped(written):
    words = (written / "monitoring.config").read_text("utf-8")
    (name, fields), *rest = labels.parse(words)
    assert name == "prometheus_config" and not rest
    assert dict(fields) == {
        "enable": "true",
        "path": "/monitoring/prometheus/metrics",
    }


def test_compose_file_gives_the_server_every_file_it_names(
    written, own_versions
):
    compose = yaml.safe_load((written / "docker-compose.yml").read_text())
    server = compose["services"]["serving"]
    assert server["image"] == "tensorflow/serving:2.21.0"
    mounts = {v["target"]: v["source"] for v in server["volumes"]}
    assert mounts == {
        "/config": str(written),
        f"/models/{MODEL}": str(own_versions),
    }
    assert all(volume["read_only"] for volume in server["volumes"])
    for flag in server["command"]:
        name, _, value = flag.partition("=")
        if name.endswith("_file"):
            assert (written / value.removeprefix("/config/")).is_file()
    assert server["ports"] == ["8500:8500", "8501:8501"]


def test_kubernetes_manifests_fit_together(written):
    path = written / "kubernetes.yaml"
    config, deployment, service = yaml.safe_load_all(path.read_text())
    for name, text in config["data"].items():
        assert text == (written / name).read_text("utf-8")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert (
        deployment["spec"]["selector"]["matchLabels"]
        == (pod["metadata"]["labels"])
    )
    ready = container["readinessProbe"]["httpGet"]
    assert ready == {"path": f"/v1/models/{MODEL}/metadata", "port": 8501}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {p["targetPort"] for p in service["spec"]["ports"]} == set(ports)
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {m["name"] for m in container["volumeMounts"]} == volumes


def test_a_new_version_is_canary_until_it_is_made_stable(own_versions):
    (own_versions / "2").unlink()
    assert status(f"--models={own_versions}") == 0
    assert labels.read(own_versions).labels == {"stable": 1}
    (own_versions / "2").symlink_to((own_versions / "1").resolve())
    assert status(f"--models={own_versions}") == 0
    assert labels.read(own_versions).labels == {"stable": 1, "canary": 2}
    assert status(f"--models={own_versions}", "--stable=2") == 0
    assert labels.read(own_versions).labels == {"stable": 2}


def test_several_models_share_a_server(own_versions, tmp_path):
    output = tmp_path / "both"
    models = f"--models=first={own_versions},second={own_versions}"
    assert status(models, f"--output={output}") == 0
    config = text_format.Parse(
        (output / "models.config").read_text("utf-8"),
        model_server_config_pb2.ModelServerConfig(),
    )
    names = [model.name for model in config.model_config_list.config]
    assert names == ["first", "second"]


def test_signatures_whose_sizes_must_agree_in_a_batch_are_told(
    own_versions, capsys
):
    assert status(f"--models={own_versions}") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "of one size" in line]
    assert line.startswith("Requests to images and pyramid of mine must")


def test_a_version_without_warm_up_is_told(own_versions, capsys):
    assert status(f"--models={own_versions}", "--stable=1") == 0
    output = capsys.readouterr().out
    assert "Version 1 of mine has no warm-up" in output
    assert "Export with --warmup_images" in output
    assert "Version 2" not in output
    assert status(f"--models={own_versions}", "--batch_sizes=3,32") == 0
    assert "not warmed up for batches of 3:" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["detector", "search"])
def test_a_kind_whose_exporter_has_no_warm_up_is_not_told_of_it(
    own_versions, tmp_path, capsys, kind
):
    version = tmp_path / "other" / "1"
    version.mkdir(parents=True)
    graph = (own_versions / "1" / "saved_model.pb").read_bytes()
    (version / "saved_model.pb").write_bytes(graph)
    (version / "model_card.json").write_text(json.dumps({"kind": kind}))
    assert status(f"--models={version.parent}") == 0
    output = capsys.readouterr().out
    assert "has no warm-up" in output and "--warmup_images" not in output


def test_a_damaged_models_config_is_written_again_as_it_says(
    own_versions, capsys
):
    path = own_versions / labels.CONFIG
    path.parent.mkdir()
    path.write_text("model_config_list {")
    assert status(f"--models={own_versions}") == 2
    assert "export.serving.serve --stable=" in capsys.readouterr().err
    assert status(f"--models={own_versions}", "--stable=2") == 0
    assert labels.read(own_versions).labels == {"stable": 2}


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "models must be given"),
        (["--models={0}/1"], "one version. Give"),
        (["--models=Mine={0}"], "small letters"),
        (["--models={0}/nowhere"], "no SavedModel"),
        (["--models={0}", "--stable=7"], "stable must be a version"),
        (["--models={0}", "--batch_sizes=8,4"], "batch_sizes must increase"),
        (["--models={0},b={0}"], "output must be given"),
        (["--models={0}", "--name=A"], "name must be"),
    ],
)
def test_bad_input_is_one_line(own_versions, capsys, arguments, words):
    given = [argument.format(own_versions) for argument in arguments]
    assert status(*given) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_damaged_graph_is_refused(own_versions):
    damaged = own_versions / "3"
    damaged.mkdir()
    (damaged / "saved_model.pb").write_bytes(b"\xff" * 40)
    export = exports.labelled(MODEL, own_versions, stable=3)
    with pytest.raises(checking.ServingError, match="is damaged"):
        checking.check(export, (1, 8))


def test_more_warm_up_than_a_server_takes_is_refused(own_versions):
    target = (own_versions / "2").resolve()
    (own_versions / "2").unlink()
    shutil.copytree(target, own_versions / "2")
    path = own_versions / "2" / "model_card.json"
    card = json.loads(path.read_text())
    card["warm_up"]["records"] = 1001
    path.write_text(json.dumps(card))
    export = exports.labelled(MODEL, own_versions)
    with pytest.raises(checking.ServingError, match="at most 1,000 records"):
        checking.check(export, (1, 8))
