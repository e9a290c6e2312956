# The program as an image: `docker compose` with compose.yaml (service and page) or compose.batch.yaml (one batch).
# Every package is pinned by hash (requirements/*.txt), the base by version and digest. Model weights are never in the image:
# Perch's are downloaded on first use into the volume at /cache, or mounted.

# REQUIREMENTS: files of requirements/, without their ending. "perch engines" runs Perch on CPUs, "perch engines objects" takes s3://
# and gs:// as well. "gpu" is for NVIDIA GPUs and stands alone: faiss-gpu and the faiss-cpu of all others own the same folder.
# Not "birdnet": its package carries BirdNET's weights, whose licence forbids commercial use.
ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON} AS build
ARG REQUIREMENTS="perch engines"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/sonotheque
COPY requirements/ requirements/
RUN set -eu; \
    for name in $REQUIREMENTS; do \
        case "$name" in \
            base|perch|engines|gpu|objects|nodes) ;; \
            *) echo "REQUIREMENTS: '$name' must be of base, perch, engines, gpu, objects, nodes; birdnet and all carry model weights" >&2; exit 1 ;; \
        esac; \
    done; \
    case " $REQUIREMENTS " in \
        " gpu ") ;; \
        *" gpu "*) echo "REQUIREMENTS: gpu stands alone: the others bring faiss-cpu" >&2; exit 1 ;; \
    esac; \
    set --; for name in $REQUIREMENTS; do set -- "$@" -r "requirements/$name.txt"; done; \
    /opt/sonotheque/bin/pip install --require-hashes "$@"
# What builds the package itself is pinned too: setuptools as in requirements/perch.txt, with its hashes.
RUN set -eu; \
    awk '/^setuptools==/ {on=1} on {sub(/ ;[^\\]*/, ""); print} on && !/\\$/ {exit}' requirements/perch.txt > /tmp/build.txt; \
    /opt/sonotheque/bin/pip install --require-hashes --no-deps -r /tmp/build.txt
COPY pyproject.toml README.md ./
COPY sonotheque/ sonotheque/
COPY embedder/ embedder/
COPY store/ store/
COPY probes/ probes/
COPY cluster/ cluster/
COPY search_api/ search_api/
RUN /opt/sonotheque/bin/pip install --no-deps --no-build-isolation .

FROM ${PYTHON}
COPY --from=build /opt/sonotheque /opt/sonotheque
# Any user id may run it (`user:` in compose): what is written to stands open, and a home and a name are set for libraries that ask.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /cache --shell /usr/sbin/nologin sonotheque \
    && install --directory --mode 1777 /cache /state /input /output
ENV PATH=/opt/sonotheque/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/cache \
    USER=sonotheque \
    XDG_CACHE_HOME=/cache \
    SONOTHEQUE_CACHE=/cache/sonotheque \
    SONOTHEQUE_STATE=/state \
    KAGGLEHUB_CACHE=/cache/kagglehub \
    HF_HOME=/cache/huggingface \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    TF_CPP_MIN_LOG_LEVEL=3
VOLUME ["/cache", "/state"]
WORKDIR /output
USER 10001:10001
EXPOSE 8770
# Of the service; a batch is told by its exit code, and turns this off.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8770/healthz', timeout=4)"]
ENTRYPOINT ["sonotheque"]
CMD ["--help"]
