# One image for all services of compose.yaml; hnswlib is compiled in the first stage,
# for the processor of this machine (HNSWLIB_NO_NATIVE=1 makes it for any). On ARM, cykooz-resizer is
# compiled too, by Rust.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential \
    && if [ "$(uname -m)" != x86_64 ]; then apt-get install -y rustup && rustup default stable; fi
COPY requirements.lock /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home clip && mkdir -p /srv/data && chown clip /srv/data
COPY --from=build /venv /venv
COPY . /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER clip
WORKDIR /app
