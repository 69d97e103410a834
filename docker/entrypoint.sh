#!/bin/sh
# Puts the database's password, from the file that PGPASSWORD_FILE names (a Docker secret), where
# ${PGPASSWORD} in the mapping document's url finds it; then what the server's image does.
set -eu
if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi
exec docker-entrypoint.sh "$@"
