# One image for a container of everything and for each service of compose.yaml. hnswlib is compiled
# for the processor of this machine (HNSWLIB_NO_NATIVE=1 makes it for any). On ARM, cykooz-resizer is
# compiled too, by Rust.
#   docker build -t clip-search .                            UID and GID: who runs it and owns /srv/data
#   docker build -t clip-search:cuda --build-arg DEVICE=cuda .
#   docker build -t clip-search:torchserve --target torchserve .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG DEVICE=cpu
ARG UID=1000
ARG GID=1000

FROM ${PYTHON_IMAGE} AS packages-cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV PATH=/root/.cargo/bin:$PATH
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends build-essential curl \
    && rm -rf /var/lib/apt/lists/* \
    && if [ "$(uname -m)" != x86_64 ]; then \
        curl --proto =https -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal; fi
COPY requirements.lock requirements-image.lock /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock -r /requirements-image.lock

FROM packages-cpu AS packages-cuda
COPY requirements-cuda.lock /
RUN /venv/bin/pip uninstall -y onnxruntime \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements-cuda.lock

FROM packages-cpu AS packages-torch
COPY requirements-torch.lock /
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements-torch.lock

# hadolint ignore=DL3006
FROM packages-${DEVICE} AS packages

FROM ${PYTHON_IMAGE} AS app
ARG UID
ARG GID
# tini ends what services leave behind, and passes on the signals. /srv/samples: Prepare.images of
# the config.json that ships.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --non-unique --gid "$GID" clip \
    && useradd --non-unique --no-log-init --uid "$UID" --gid "$GID" --create-home clip \
    && mkdir -p /srv/data && ln -s images /srv/samples && chown clip:clip /srv /srv/data
COPY . /app
COPY samples /srv/images
COPY edge/one-container.json /srv/config.json
RUN ln -sf /srv/config.json /app/config.json && python -m compileall -q /app
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 HF_HOME=/srv/data/models
USER ${UID}:${GID}
WORKDIR /srv
VOLUME /srv/data
EXPOSE 8000 51000 51001
ENTRYPOINT ["tini", "--", "/app/edge/entrypoint"]

FROM app AS torchserve
ARG UID
ARG GID
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends default-jre-headless \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages-torch /venv /venv
USER ${UID}:${GID}

FROM app
COPY --from=packages /venv /venv
