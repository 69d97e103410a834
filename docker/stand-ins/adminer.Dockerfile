# Stands in for adminer:4: the page on port 8080, with ADMINER_DEFAULT_SERVER in its form.
ARG DEBIAN
FROM ${DEBIAN}
RUN groupadd -r -g 999 adminer && useradd -r -g 999 -u 999 adminer \
 && apt-get update \
 && apt-get install -y --no-install-recommends adminer php-cli php-pgsql \
 && rm -rf /var/lib/apt/lists/*
COPY adminer.php /var/www/html/index.php
USER 999
EXPOSE 8080
STOPSIGNAL SIGINT
CMD ["php", "-S", "[::]:8080", "-t", "/var/www/html"]
