# Every verb but those that need torch: freshet stream, topics, replay and so on.
#     docker build -f deploy/images/stream.Dockerfile -t freshet-stream:0.1.0 .
# Reproducible up to the base image's tag: each file that is installed has its hash in build.txt and stream.txt, and
# compiled modules carry no times. With SOURCE_DATE_EPOCH as a build argument and BuildKit's output option
# rewrite-timestamp=true, two builds on one base image give one digest.

# Not the slim one: the kernels are compiled here.
FROM python:3.11.16-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src
COPY deploy/images/build.txt deploy/images/
RUN pip install --no-cache-dir --only-binary :all: --require-hashes -r deploy/images/build.txt
RUN python -m venv --without-pip /opt/freshet
COPY deploy/images/stream.txt deploy/images/
RUN uv pip install --python /opt/freshet --only-binary :all: --require-hashes -r deploy/images/stream.txt
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY models models
COPY streams streams
COPY workers workers
RUN uv build --wheel --no-build-isolation --out-dir /dist
RUN uv pip install --python /opt/freshet --no-deps /dist/*.whl
# The installation would go on without them.
RUN /opt/freshet/bin/python -c "import sys; from freshet.models.kernels import COMPILED; sys.exit(not COMPILED)"
COPY deploy/images/notices.py deploy/images/
RUN /opt/freshet/bin/python deploy/images/notices.py texts > /opt/freshet/THIRD-PARTY-NOTICES
RUN uv pip check --python /opt/freshet
RUN /opt/freshet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/freshet/lib

FROM python:3.11.16-slim-bookworm
LABEL org.opencontainers.image.title="freshet-stream" \
      org.opencontainers.image.description="freshet, a streaming news recommender: all but the embedding worker" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 freshet \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/freshet --no-create-home --shell /usr/sbin/nologin freshet \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/freshet /newspaper
COPY --from=build /opt/freshet /opt/freshet
ENV PATH=/opt/freshet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FRESHET_DATA_DIR=/var/lib/freshet \
    FRESHET_METRICS_HOST=0.0.0.0
WORKDIR /var/lib/freshet
USER 10001:10001
EXPOSE 9464
ENTRYPOINT ["freshet"]
CMD ["stream"]
