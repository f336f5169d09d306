# Two images:
#   docker build -t wolfscope .                  the light install: reads, checks, views, probes and reports runs
#   docker build -t wolfscope:cpu --target cpu . everything, with vLLM for CPUs, as `make setup` installs it
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/runs:/work/runs" wolfscope check runs/my-run
FROM python:3.11-slim AS source
WORKDIR /opt/wolfscope
COPY . .

FROM source AS cpu
RUN apt-get update && apt-get install --yes --no-install-recommends gcc g++ libnuma1 make && rm -rf /var/lib/apt/lists/* \
    && WOLFSCOPE_ACCELERATOR=cpu .ci/setup.sh
ENV PATH=/opt/wolfscope/.venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["wolfscope"]

FROM source AS light
RUN pip install --no-cache-dir --constraint constraints/cpu.txt .
WORKDIR /work
ENTRYPOINT ["wolfscope"]
