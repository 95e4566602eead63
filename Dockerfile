# Two images: `slim` runs the gateway and every stage but embed; `embed` has torch as well.
#   docker build --target slim --tag mapseek:0.1.0 .
#   docker build --target embed --tag mapseek-embed:0.1.0 .
# pip takes PIP_INDEX_URL and PIP_EXTRA_INDEX_URL from --build-arg, for instance to find a CPU build of torch.
# The code is the last layer of each image, so a new version of it does not install or transfer the dependencies again.

FROM python:3.11.15-slim-bookworm AS runtime
ENV PATH=/opt/mapseek/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/data/models \
    MAPSEEK_DATA_DIR=/data \
    MAPSEEK_HTTP_HOST=0.0.0.0 \
    MAPSEEK_HTTP_PORT=9477
# Create the folders before declaring the volume, so that new volumes on them belong to the user.
RUN useradd --uid 10001 --no-create-home --home-dir /data mapseek \
    && install -d -o mapseek -g mapseek -m 0700 /data /data/blobs /data/questions /data/models /data/vectors /data/features
VOLUME /data
EXPOSE 9477
# http.client, because urllib would use a configured proxy for our own address.
HEALTHCHECK --interval=10s --timeout=12s --start-period=120s --retries=3 CMD ["python", "-c", "\
import http.client as h, os, sys; \
c = h.HTTPConnection('127.0.0.1', int(os.environ['MAPSEEK_HTTP_PORT']), timeout=10); \
c.request('GET', '/readyz'); r = c.getresponse(); print(r.read().decode()); sys.exit(r.status != 200)"]
ENTRYPOINT ["mapseek"]
CMD ["--help"]

FROM python:3.11.15-slim-bookworm AS packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/mapseek
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > base.txt \
    && /opt/mapseek/bin/pip install --constraint constraints.txt --requirement base.txt

FROM packages AS wheel
COPY . .
RUN /opt/mapseek/bin/pip wheel --no-deps --wheel-dir /wheel .

FROM runtime AS slim
COPY --from=packages /opt/mapseek /opt/mapseek
COPY --from=wheel /wheel /wheel
RUN /opt/mapseek/bin/pip install --no-cache-dir --no-deps --no-index /wheel/*.whl
USER mapseek

FROM packages AS packages-embed
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['embed'], sep='\n')" > embed.txt \
    && /opt/mapseek/bin/pip install --constraint constraints.txt --requirement embed.txt

FROM runtime AS embed
COPY --from=packages-embed /opt/mapseek /opt/mapseek
COPY --from=wheel /wheel /wheel
RUN /opt/mapseek/bin/pip install --no-cache-dir --no-deps --no-index /wheel/*.whl
USER mapseek
