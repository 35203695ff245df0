# An image with a virtual environment. docs/deployment.md shows how to run it with a read-only root.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY etc etc
COPY grammar grammar
COPY share share
COPY schedappliance schedappliance
RUN python -m venv /opt/schedappliance && /opt/schedappliance/bin/pip install --no-cache-dir '.[web]'

FROM python:3.13-slim
RUN groupadd --gid 10001 schedappliance \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/schedappliance schedappliance \
    && install -d -m 750 -o 10001 -g 10001 /run/schedappliance /var/lib/schedappliance /var/spool/schedappliance
COPY --from=build /opt/schedappliance /opt/schedappliance
ENV PATH=/opt/schedappliance/bin:$PATH
USER 10001:10001
VOLUME ["/etc/schedappliance", "/run/schedappliance", "/var/lib/schedappliance", "/var/spool/schedappliance"]
# It asks the thread that runs jobs.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["schedappliance", "health"]
ENTRYPOINT ["schedappliance"]
CMD ["serve"]
