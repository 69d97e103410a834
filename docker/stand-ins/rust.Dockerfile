# Stands in for rust:1-bookworm. The context holds this machine's toolchain and its certificates:
# Debian's own rustc is too old.
ARG DEBIAN
FROM ${DEBIAN}
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/bin/
COPY lib /usr/local/lib/
COPY ca-certificates.crt /etc/ssl/certs/
ENV CARGO_HOME=/usr/local/cargo
