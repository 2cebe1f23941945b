# The embedding worker, with torch: for the CPU (the default), or for an NVIDIA GPU.
#     docker build -f deploy/images/embed.Dockerfile -t freshet-embed:0.1.0 .
#     docker build -f deploy/images/embed.Dockerfile --target gpu -t freshet-embed:0.1.0-gpu .
# Reproducible as the stream image is, but for torch on the CPU: PyTorch's own index has it, pinned by version alone.
# PyPI's torch brings CUDA's libraries, several gigabytes; an image without a GPU should not carry them.

# Not the slim one: the kernels are compiled here.
FROM python:3.11.16-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src
COPY deploy/images/build.txt deploy/images/
RUN pip install --no-cache-dir --only-binary :all: --require-hashes -r deploy/images/build.txt
RUN python -m venv --without-pip /opt/freshet
COPY deploy/images/embed.txt deploy/images/
RUN uv pip install --python /opt/freshet --only-binary :all: --no-deps --require-hashes -r deploy/images/embed.txt
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY models models
COPY streams streams
COPY workers workers
RUN uv build --wheel --no-build-isolation --out-dir /dist
RUN uv pip install --python /opt/freshet --no-deps /dist/*.whl
# The installation would go on without them.
RUN /opt/freshet/bin/python -c "import sys; from freshet.models.kernels import COMPILED; sys.exit(not COMPILED)"
COPY deploy/images/notices.py deploy/images/

FROM build AS build-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN uv pip install --python /opt/freshet --only-binary :all: --no-deps --index-url "$TORCH_INDEX" torch==2.13.0
RUN /opt/freshet/bin/python deploy/images/notices.py texts > /opt/freshet/THIRD-PARTY-NOTICES
RUN uv pip check --python /opt/freshet
RUN /opt/freshet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/freshet/lib

FROM build AS build-gpu
COPY deploy/images/cuda.txt deploy/images/
RUN uv pip install --python /opt/freshet --only-binary :all: --no-deps --require-hashes -r deploy/images/cuda.txt
RUN /opt/freshet/bin/python deploy/images/notices.py texts > /opt/freshet/THIRD-PARTY-NOTICES
RUN uv pip check --python /opt/freshet
RUN /opt/freshet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/freshet/lib

FROM python:3.11.16-slim-bookworm AS runtime
LABEL org.opencontainers.image.title="freshet-embed" \
      org.opencontainers.image.description="freshet, a streaming news recommender: the embedding worker" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 freshet \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/freshet --no-create-home --shell /usr/sbin/nologin freshet \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/freshet
ENV PATH=/opt/freshet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/var/lib/freshet/huggingface \
    FRESHET_DATA_DIR=/var/lib/freshet \
    FRESHET_METRICS_HOST=0.0.0.0
WORKDIR /var/lib/freshet
USER 10001:10001
EXPOSE 9464
ENTRYPOINT ["freshet"]
CMD ["embed"]

FROM runtime AS gpu
# What NVIDIA's container toolkit puts into the container of a base image that does not say so itself.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/freshet /opt/freshet

FROM runtime AS cpu
COPY --from=build-cpu /opt/freshet /opt/freshet
