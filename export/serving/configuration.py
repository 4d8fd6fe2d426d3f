"""What a server reads: text in protobuf's text format and in YAML.

TF Serving's batching and monitoring messages are in no Python package, so the
files are written as text. Text of JSON is text of YAML and of protobuf too:
`json.dumps` quotes every string.
"""

import json

GRPC_PORT, REST_PORT = 8500, 8501
MODELS_CONFIG = "models.config"
BATCHING_CONFIG = "batching.config"
MONITORING_CONFIG = "monitoring.config"
METRICS_PATH = "/monitoring/prometheus/metrics"
MODELS, CONFIGS = "/models", "/config"  # folders in the container
_POLL_SECONDS = 30  # between two looks at models.config: labels move then

MONITORING = f"""prometheus_config {{
  enable: true
  path: {json.dumps(METRICS_PATH)}
}}
"""


def models_config(exports):
    """The text of models.config: each labelled version is loaded.

    Args:
      exports: list of `exports.Export`.
    """
    return "model_config_list {\n" + "".join(map(_model, exports)) + "}\n"


def _model(export):
    versions = "".join(
        f"        versions: {number}\n"
        for number in sorted(set(export.labels.values()))
    )
    labels = "".join(
        "    version_labels {\n"
        f"      key: {json.dumps(label)}\n"
        f"      value: {number}\n"
        "    }\n"
        for label, number in export.labels.items()
    )
    return (
        "  config {\n"
        f"    name: {json.dumps(export.name)}\n"
        f"    base_path: {json.dumps(f'{MODELS}/{export.name}')}\n"
        '    model_platform: "tensorflow"\n'
        "    model_version_policy {\n"
        "      specific {\n"
        f"{versions}"
        "      }\n"
        "    }\n"
        f"{labels}"
        "  }\n"
    )


def batching_config(batch_sizes, timeout_micros, threads):
    """The text of batching.config.

    A batch is filled up to the next allowed size; the largest one must be
    `max_batch_size`, or the server refuses to start.

    Args:
      batch_sizes: increasing ints. timeout_micros: int, that a request waits
        for others. threads: int, batches at a time.
    """
    allowed = "".join(f"allowed_batch_sizes: {n}\n" for n in batch_sizes)
    values = {
        "max_batch_size": batch_sizes[-1],
        "batch_timeout_micros": timeout_micros,
        "max_enqueued_batches": 100 * threads,
        "num_batch_threads": threads,
    }
    wrapped = "".join(f"{n} {{ value: {v} }}\n" for n, v in values.items())
    return wrapped + allowed


def server_flags():
    """Arguments of `tensorflow_model_server`, in the container."""
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={CONFIGS}/{MODELS_CONFIG}",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        # Else a label cannot name a version that is still being loaded.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={CONFIGS}/{BATCHING_CONFIG}",
        f"--monitoring_config_file={CONFIGS}/{MONITORING_CONFIG}",
    ]


def docker_compose(exports, image, config_folder):
    """The text of docker-compose.yml.

    Args:
      exports: list of `exports.Export`. image: str, the server's image.
      config_folder: absolute path of the folder of configurations.
    """
    volumes = [
        (config_folder, CONFIGS),
        *((e.folder.resolve(), f"{MODELS}/{e.name}") for e in exports),
    ]
    # In compose files, $ begins a variable.
    mounts = "".join(
        "      - type: bind\n"
        f"        source: {json.dumps(str(source).replace('$', '$$'))}\n"
        f"        target: {json.dumps(target)}\n"
        "        read_only: true\n"
        for source, target in volumes
    )
    return (
        "services:\n"
        "  serving:\n"
        f"    image: {json.dumps(image)}\n"
        '    entrypoint: ["tensorflow_model_server"]\n'
        f"    command:\n{_list(server_flags(), 6)}"
        "    ports:\n"
        f'      - "{GRPC_PORT}:{GRPC_PORT}"\n'
        f'      - "{REST_PORT}:{REST_PORT}"\n'
        f"    volumes:\n{mounts}"
        "    restart: unless-stopped\n"
    )


def kubernetes(exports, image, files, name, replicas, claim):
    """The text of kubernetes.yaml: ConfigMap, Deployment and Service.

    The server opens its ports once every version has been loaded, so that the
    metadata of one model say that all are ready.

    Args:
      exports: list of `exports.Export`. image: str.
      files: dict of a name to the text of a configuration.
      name: str, of the deployment. replicas: int.
      claim: str, the PersistentVolumeClaim with a folder for each model.
    """
    first = exports[0].name
    ready = json.dumps(f"/v1/models/{first}/metadata")
    data = "".join(f"  {n}: {json.dumps(text)}\n" for n, text in files.items())
    probe = (
        "            httpGet:\n"
        f"              path: {ready}\n"
        f"              port: {REST_PORT}\n"
    )
    return f"""apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
{data}---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "{REST_PORT}"
        prometheus.io/path: {json.dumps(METRICS_PATH)}
    spec:
      containers:
        - name: serving
          image: {json.dumps(image)}
          command: ["tensorflow_model_server"]
          args:
{_list(server_flags(), 12)}          ports:
            - name: grpc
              containerPort: {GRPC_PORT}
            - name: rest
              containerPort: {REST_PORT}
          startupProbe:
{probe}            periodSeconds: 2
            failureThreshold: 150
          readinessProbe:
{probe}            periodSeconds: 5
          volumeMounts:
            - name: models
              mountPath: {MODELS}
              readOnly: true
            - name: config
              mountPath: {CONFIGS}
              readOnly: true
      volumes:
        - name: models
          persistentVolumeClaim:
            claimName: {json.dumps(claim)}
            readOnly: true
        - name: config
          configMap:
            name: {name}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector:
    app: {name}
  ports:
    - name: grpc
      port: {GRPC_PORT}
      targetPort: grpc
    - name: rest
      port: {REST_PORT}
      targetPort: rest
"""


def _list(values, indent):
    return "".join(f"{' ' * indent}- {json.dumps(v)}\n" for v in values)
