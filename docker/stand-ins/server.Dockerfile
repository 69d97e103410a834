# Stands in for redis:<version> and valkey/valkey:<version>: the same user number, folder, entry
# point and default command.
ARG DEBIAN
FROM ${DEBIAN}
ARG NAME
RUN groupadd -r -g 999 "$NAME" && useradd -r -g 999 -u 999 "$NAME" \
 && apt-get update \
 && apt-get install -y --no-install-recommends "$NAME-server" \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 999 -g 999 /data \
 && printf '#!/bin/sh\ncase ${1:-} in -* | *.conf) set -- %s-server "$@" ;; esac\nexec "$@"\n' "$NAME" \
      >/usr/local/bin/docker-entrypoint.sh \
 && chmod +x /usr/local/bin/docker-entrypoint.sh \
 && ln -s "$(command -v "$NAME-server")" /usr/local/bin/default-server
VOLUME /data
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["default-server"]
