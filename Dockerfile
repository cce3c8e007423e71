# syntax=docker/dockerfile:1
# Built in one image, run in another: no compiler, no package cache, no root.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/howdah
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
RUN /opt/howdah/bin/pip install . \
    && /opt/howdah/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Howdah" \
      org.opencontainers.image.description="A caching proxy for PostgreSQL" \
      org.opencontainers.image.licenses="GPL-3.0-or-later"
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/howdah howdah
COPY --from=build /opt/howdah /opt/howdah
COPY config/howdah.yaml /etc/howdah/howdah.yaml
ENV PATH=/opt/howdah/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOWDAH_CONFIG=/etc/howdah/howdah.yaml \
    HOWDAH_LISTEN=0.0.0.0:6432 \
    HOWDAH_HTTP=0.0.0.0:9432
USER howdah
WORKDIR /var/lib/howdah
EXPOSE 6432 9432
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HOWDAH_HTTP'].rpartition(':')[2] + '/healthz', timeout=2)"]
ENTRYPOINT ["howdah"]
CMD ["serve"]
