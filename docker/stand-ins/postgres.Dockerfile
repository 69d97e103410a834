# Stands in for postgres:<version>: the same user number, data folder, variables and init scripts.
ARG DEBIAN
FROM ${DEBIAN}
ARG VERSION
RUN groupadd -r -g 999 postgres \
 && useradd -r -g 999 -u 999 -d /var/lib/postgresql postgres \
 && mkdir -p /etc/postgresql-common \
 && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends "postgresql-$VERSION" \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 999 -g 999 -m 1777 /var/lib/postgresql /var/lib/postgresql/data /var/run/postgresql \
 && mkdir /docker-entrypoint-initdb.d \
 && ln -s "/usr/lib/postgresql/$VERSION/bin"/* /usr/local/bin/
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
# From version 18 the official image keeps the data in a folder of the version.
ARG PGDATA=/var/lib/postgresql/data
ENV PGDATA=${PGDATA}
USER 999
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
