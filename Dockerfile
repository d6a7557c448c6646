# One image for all services of compose.yaml; hnswlib is compiled in the first stage,
# for the processor of this machine (HNSWLIB_NO_NATIVE=1 makes it for any). On ARM, cykooz-resizer is
# compiled too, by Rust.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
ENV PATH=/root/.cargo/bin:$PATH
RUN apt-get update && apt-get install -y --no-install-recommends build-essential curl \
    && if [ "$(uname -m)" != x86_64 ]; then \
        curl --proto =https -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal; fi
COPY requirements.lock requirements-gateway.txt /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock \
    && /venv/bin/pip install --no-cache-dir -r /requirements-gateway.txt

FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home clip && mkdir -p /srv/data && chown clip /srv/data
COPY --from=build /venv /venv
COPY . /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER clip
WORKDIR /app
