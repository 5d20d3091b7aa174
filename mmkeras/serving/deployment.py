"""What stock TensorFlow Serving is started with: its configuration beside the versions."""

from pathlib import Path

# The newest release whose image is known to us; any newer one of the same line will do.
IMAGE = "tensorflow/serving:2.19.1"
FOLDER = "deploy"

_FILES = {
    "models.config": """\
# --model_config_file: which models there are. Add others as further `config`.
model_config_list {
  config {
    name: "NAME"
    base_path: "/models/NAME"
    model_platform: "tensorflow"
    # Two versions while clients go over from one to the next.
    model_version_policy { latest { num_versions: 1 } }
  }
}
""",
    "batching.config": """\
# --enable_batching --batching_parameters_file: requests that come together are answered together.
# Rows have fixed shapes inside (bytes and strings), so nothing is padded. Chunks of streams differ
# in length: those of one length are answered together.
max_batch_size { value: 32 }
batch_timeout_micros { value: 5000 }
max_enqueued_batches { value: 64 }
num_batch_threads { value: 4 }
""",
    "monitoring.config": """\
# --monitoring_config_file: figures for Prometheus at the REST port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
""",
    "ssl.config": """\
# --ssl_config_file: TLS of the gRPC port. The REST port has none: put a proxy before it that ends
# TLS (nginx, Envoy, an Ingress), and let nobody else reach it. Replace each ... by what its file
# holds, with \\n for the ends of lines.
server_key: "-----BEGIN PRIVATE KEY-----\\n...\\n-----END PRIVATE KEY-----"
server_cert: "-----BEGIN CERTIFICATE-----\\n...\\n-----END CERTIFICATE-----"
custom_ca: ""
client_verify: false
""",
    "compose.yaml": """\
# docker compose -f deploy/compose.yaml up, in the directory of the versions.
services:
  serving:
    image: IMAGE
    ports: ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    volumes:
      - ..:/models/NAME:ro
      - .:/deploy:ro
    command:
      - --model_config_file=/deploy/models.config
      - --enable_batching
      - --batching_parameters_file=/deploy/batching.config
      - --monitoring_config_file=/deploy/monitoring.config
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8501"]
      interval: 10s
      start_period: 60s
""",
    "kubernetes.yaml": """\
# kubectl create configmap NAME-serving --from-file=deploy
# kubectl apply -f deploy/kubernetes.yaml
# The versions come from a volume that all pods can read; copy a new one beside it first and rename
# it to its number last, so that no server sees half of it.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
spec:
  replicas: 2
  selector:
    matchLabels: {app: NAME}
  template:
    metadata:
      labels: {app: NAME}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "8501"
        prometheus.io/path: /monitoring/prometheus/metrics
    spec:
      containers:
        - name: serving
          image: IMAGE
          args:
            - --model_config_file=/deploy/models.config
            - --enable_batching
            - --batching_parameters_file=/deploy/batching.config
            - --monitoring_config_file=/deploy/monitoring.config
          ports:
            - {name: grpc, containerPort: 8500}
            - {name: rest, containerPort: 8501}
          readinessProbe:
            httpGet: {path: /v1/models/NAME, port: rest}
          resources:
            requests: {cpu: "2", memory: 2Gi}
          securityContext:
            allowPrivilegeEscalation: false
          volumeMounts:
            - {name: models, mountPath: /models/NAME, readOnly: true}
            - {name: deploy, mountPath: /deploy, readOnly: true}
      volumes:
        - name: models
          persistentVolumeClaim: {claimName: NAME-models, readOnly: true}
        - name: deploy
          configMap: {name: NAME-serving}
---
apiVersion: v1
kind: Service
metadata:
  name: NAME
spec:
  selector: {app: NAME}
  ports:
    - {name: grpc, port: 8500, targetPort: grpc}
    - {name: rest, port: 8501, targetPort: rest}
""",
}


def write_deployment(path, name=None):
    """Write what stock TensorFlow Serving is started with beside the versions of a model.

    The files are `deploy/models.config`, `batching.config`, `monitoring.config`, `ssl.config`,
    `compose.yaml` and `kubernetes.yaml`. Those that are there already stay as they are: whoever
    changed them had a reason.

    Args:
        path: The directory of versions.
        name: Of the model to the server; None for the directory's own.

    Returns:
        The folder, a `Path`.

    Example:

    ```python
    import mmkeras as mm

    mm.export(model, "saved_models/captions")
    mm.write_deployment("saved_models/captions")   # then: docker compose -f ... up
    ```
    """
    path = Path(path).resolve()
    folder = path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in _FILES.items():
        if not (folder / file).exists():
            text = text.replace("NAME", name or path.name).replace("IMAGE", IMAGE)
            (folder / file).write_text(text, encoding="utf-8")
    return folder
