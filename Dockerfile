# The gateway (docs/serving.md). What it is built from is pinned by hash in requirements/run.lock.
#   docker build -t adjudge .
#   docker run --rm -v "$PWD/arms.toml:/etc/adjudge/arms.toml:ro" -v adjudge:/data -p 8080:8080 adjudge

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /app
COPY requirements/run.lock requirements/
RUN /app/bin/pip install --no-cache-dir --require-hashes -r requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /app/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --no-create-home adjudge && install -d -o adjudge /data
COPY --from=build /app /app
USER adjudge
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["/app/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
# On an address that others reach it starts once there is a key: adjudge keys add --store /data/gateway.db ...
ENTRYPOINT ["/app/bin/adjudge"]
CMD ["serve", "--arms", "/etc/adjudge/arms.toml", "--store", "/data/gateway.db", "--host", "0.0.0.0"]
