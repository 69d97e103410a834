#!/usr/bin/env bash
# The main job, step by step, on a private PostgreSQL and a private redis-server that this script
# starts on free ports and ends again. `make demo` builds the module and runs it.
#
#   KEEP=1        leave both servers running at the end, and say how to connect
#   MODULE=path   another build of the module
#
# It checks each answer and ends with 1 at the first that isn't as expected: CI runs it.
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
module=${MODULE:-${CARGO_TARGET_DIR:-$repo/target}/release/libwritethrough.so}
module=$(realpath -m "$module")
mapping=$repo/examples/users.json
cd / # the servers' users may not read the folder we were started in

# ---- what is seen -------------------------------------------------------------------------

bold='' dim='' red='' off=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' off=$'\e[0m'
fi

step() { printf '\n%s%s%s\n\n' "$bold" "$1" "$off"; }
note() { printf '  %s%s%s\n' "$dim" "$1" "$off"; }
indent() { echo "  ${1//$'\n'/$'\n'  }"; }
shown() { printf '  %s%s>%s %s\n' "$dim" "$1" "$off" "$2"; } # who types, what

failed() {
  {
    printf '\n%sThe demo failed:%s %s\n' "$red" "$off" "$1"
    for log in "${dir:-/nonexistent}"/{redis,postgres}.log; do
      [ ! -s "$log" ] || { echo "--- the end of $(basename "$log")" && tail -n 15 "$log"; }
    done
  } >&2
  exit 1
}

# ---- servers --------------------------------------------------------------------------------

dir='' keep=''
declare -A server=() # name → process

# end NAME SIGNAL: asks a server to end, insists after ten seconds.
end() {
  local pid=${server[$1]:-} deadline=$((SECONDS + 10))
  [ -n "$pid" ] && kill "-$2" "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.02
  done
}

end_servers() {
  trap '' INT TERM
  [ -z "$keep" ] || return 0
  end lock TERM
  end redis TERM
  end postgres INT # without waiting for its clients
  wait
  [ -z "$dir" ] || rm -rf "$dir"
}
trap end_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true SECONDS WHAT COMMAND…: asks again until the command succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || failed "waited in vain for $what"
    sleep 0.02
  done
}

free_port() { # below the range that the kernel gives to clients
  local port
  while port=$((20000 + RANDOM % 12000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# start NAME READY COMMAND…: starts a server in its own session, so that Ctrl-C ends this script
# and not the server under it; fails when it ends before READY succeeds.
start() {
  local name=$1 ready=$2 deadline=$((SECONDS + 30))
  shift 2
  setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  server[$name]=$!
  until $ready >/dev/null 2>&1; do
    kill -0 "${server[$name]}" 2>/dev/null || return 1
    [ "$SECONDS" -lt "$deadline" ] || failed "$name doesn't answer"
    sleep 0.02
  done
  kill -0 "${server[$name]}" 2>/dev/null # else it was another server that answered
}

redis() { redis-cli -h 127.0.0.1 -p "$redis_port" --no-raw "$@"; }
redis_ready() { [ "$(redis ping)" = PONG ]; }
sql() { psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U app -d "${database:-example}" "$@"; }
postgres_ready() { database=postgres sql -c 'select 1'; }

# PostgreSQL refuses to run as root.
as_user=()
postgres_user=
if [ "$(id -u)" -eq 0 ]; then
  postgres_user=$(id -un postgres 2>/dev/null || echo nobody)
  as_user=(setpriv "--reuid=$postgres_user" "--regid=$(id -g "$postgres_user")" --clear-groups)
fi

start_postgres() {
  local bin
  bin=$(dirname "$(command -v initdb || find /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)")
  [ -x "$bin/initdb" ] || failed "no PostgreSQL server found: run scripts/deps"
  PGPASSWORD=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  export PGPASSWORD
  mkdir "$dir/postgres"
  (umask 077 && echo "$PGPASSWORD" >"$dir/postgres.password")
  [ -z "$postgres_user" ] || chown "$postgres_user" "$dir/postgres" "$dir/postgres.password"
  "${as_user[@]}" "$bin/initdb" -D "$dir/postgres" -U app --auth=scram-sha-256 \
    --pwfile="$dir/postgres.password" -E UTF8 --locale=C --no-sync \
    >"$dir/postgres.log" 2>&1 || failed "initdb failed"
  rm "$dir/postgres.password"
  for _ in 1 2 3 4 5; do
    postgres_port=$(free_port)
    if start postgres postgres_ready "${as_user[@]}" "$bin/postgres" -D "$dir/postgres" \
      -p "$postgres_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories=; then
      pg_ctl=$bin/pg_ctl
      return
    fi
  done
  failed "PostgreSQL doesn't start"
}

start_redis() {
  command -v redis-server >/dev/null || failed "no redis-server found: run scripts/deps"
  for _ in 1 2 3 4 5; do
    redis_port=$(free_port)
    if start redis redis_ready redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$dir" \
      --save '' --enable-module-command local; then
      return
    fi
  done
  failed "redis-server doesn't start"
}

# ---- commands as they are typed ------------------------------------------------------------------

# typed COMMAND PATTERN [WHO]: shows the command and its answer, which has to match the pattern.
typed() {
  local answer
  shown "${3:-redis}" "$1"
  answer=$(redis <<<"$1" 2>&1)
  indent "$answer"
  # shellcheck disable=SC2053  # a pattern
  [[ $answer == $2 ]] || failed "$1 should have answered $2"
}

queried() { # the same with psql
  local answer
  shown psql "$1;"
  answer=$(sql -c "$1" 2>&1)
  indent "$answer"
  # shellcheck disable=SC2053
  [[ $answer == $2 ]] || failed "$1 should have answered $2"
}

# users:ID at the left, its row at the right; and whether they hold the same.
beside() {
  local id=$1 hash row left width
  # The first two lines of the row are no fields.
  hash=$'\n\n'$(redis -3 <<<"HGETALL users:$id")
  row=$(sql -x -c "select * from users where id = $id")
  width=$(awk '{ if (length > n) n = length } END { print n + 2 }' <<<"$hash")
  [ "$width" -ge 26 ] || width=26
  {
    printf '%-*s%s\n' "$width" "redis> HGETALL users:$id" "psql> select * from users where id = $id;"
    while IFS= read -r -u 3 left || IFS= read -r -u 4 row_line; do
      [ -n "${row_line:-}" ] || IFS= read -r -u 4 row_line || true
      printf '%-*s%s\n' "$width" "$left" "$row_line"
      left='' row_line=''
    done 3<<<"$hash" 4<<<"$row"
  } | sed 's/^/  /; s/ *$//'
  same "$id"
}

same() {
  local hash row
  hash=$(redis --raw HMGET "users:$1" username email pwhash first last dob created_at updated_at)
  row=$(sql -At -F $'\n' -c "select username, email, password_hash, first_name, last_name,
    date_of_birth, created_at, updated_at from users where id = $1")
  [ "$hash" = "$row" ] || failed "users:$1 isn't its row"
}

# All that Redis and the table hold.
everything() {
  # First, as a read loads a row that isn't cached.
  for id in 1 2 3; do redis HGETALL "users:$id"; done
  redis --raw KEYS '*' | sort
  sql -At -c 'select * from users order by id'
}

# refused COMMAND PATTERN: the write has to fail with the error, and to change nothing.
refused() {
  local before
  before=$(everything)
  typed "$1" "(error) $2"
  [ "$(everything)" = "$before" ] || failed "the refused $1 changed something"
}

# ---- the demo ------------------------------------------------------------------------------------

[ -r "$module" ] || failed "no module at $module: run 'make build'"
dir=$(mktemp -d "${TMPDIR:-/tmp}/writethrough-demo.XXXXXX")
chmod 711 "$dir" # PostgreSQL's user has its own folder in it

start_postgres
start_redis
database=postgres sql -c 'create database example'
sql -f "$repo/examples/users.sql"

step "A hash in Redis that is a row in PostgreSQL"
note "private servers: redis-server on 127.0.0.1:$redis_port, PostgreSQL on 127.0.0.1:$postgres_port"

step "1. Load the module with a mapping of the table users"
note "examples/users.json says which field is which column:"
sed -n '/"table"/,/}/p' "$mapping" | sed 's/^      /    /'
cp "$mapping" "$dir/users.json"
typed "MODULE LOAD $module CONFIG $dir/users.json FOLLOW true URL postgres://app:\${PGPASSWORD}@127.0.0.1:$postgres_port/example" OK

step "2. Write a user: HSET to __{users:1}"
typed 'HSET __{users:1} username john email john@example.com pwhash x7Gk first John last Smith dob 1990-05-17' '(integer) 6'
note "answered after PostgreSQL's commit"

step "3. The hash users:1 beside its row"
beside 1
note "created_at and updated_at are the database's defaults"

step "4. Change one field, though other columns are NOT NULL"
typed 'HSET __{users:1} username bar' '(integer) 0'
queried 'select id, username, email, first_name from users' '*1 | bar      | john@example.com | John*'
typed 'HMGET users:1 username email first' '1) "bar"*"john@example.com"*"John"'
same 1

step "5. A refused write: the client reads the database's error, and nothing changes"
typed 'HSET __{users:2} username ann email ann@example.com pwhash q2Lw' '(integer) 3'
echo
note "another user's e-mail address:"
refused 'HSET __{users:2} email john@example.com' 'WTERR 23505 *constraint=users_email_key*'
queried 'select id, email from users order by id' '*1 | john@example.com*2 | ann@example.com*'
typed 'HGET users:2 email' '"ann@example.com"'
echo
note "a new user without e-mail address and password:"
refused 'HSET __{users:3} username eve' 'WTERR 23502 *column=email*'
typed 'EXISTS users:3' '(integer) 0'
echo
note "no date:"
refused 'HSET __{users:1} dob 1990-02-30' 'WTERR 22008 *'
typed 'HGET users:1 dob' '"1990-05-17"'

step "6. A slow database: only the writer waits"
note "another program holds the row of users:1:"
hold='begin; select id from users where id = 1 for update;'
shown psql "$hold"
coproc lock { sql -At 2>&1; }
server[lock]=$!
exec {to_lock}>&"${lock[1]}" {from_lock}<&"${lock[0]}"
echo "$hold" >&"$to_lock"
read -r -t 30 held <&"$from_lock" || true
[ "${held:-}" = 1 ] || failed "no lock on the row"

in_flight() { [ "$(redis --raw EXISTS '__{users:1}')" = "$1" ]; }

write='HSET __{users:1} first Johnny'
shown "client A" "$write"
asked=$EPOCHREALTIME
redis <<<"$write" >"$dir/answer" 2>&1 &
writer=$!
until_true 4 "the write to be in flight" in_flight 1
note "… waits"
typed 'EXISTS __{users:1}' '(integer) 1' "client B"
typed 'PING' PONG "client B"
typed 'HGET users:1 first' '"John"' "client B"
typed 'HSET __{users:2} first Ann' '(integer) 1' "client B"
{ kill -0 "$writer" 2>/dev/null && [ ! -s "$dir/answer" ]; } || failed "client A didn't wait"
note "now the row is released:"
shown psql 'commit;'
echo 'commit;' >&"$to_lock"
exec {to_lock}>&- {from_lock}<&-
wait "$writer"
waited=$(((${EPOCHREALTIME/[.,]/} - ${asked/[.,]/}) / 1000))
shown "client A" "$write"
indent "$(cat "$dir/answer")"
[[ $(cat "$dir/answer") == "(integer) 0"* ]] || failed "$write should have answered (integer) 0"
note "after $waited ms, and nobody else waited"
until_true 4 "the staged key to be gone" in_flight 0
typed 'HGET users:1 first' '"Johnny"'
same 1
same 2

step "7. A read of a row that isn't cached"
typed 'DEL users:1 users:2' '(integer) 2'
typed 'HMGET users:1 username first' '1) "bar"*"Johnny"*'
same 1
note "another program has added a user:"
queried "insert into users values (7, 'zoe', 'zoe@example.com', 'z9') returning id, username" '*7 | zoe*'
typed 'HGET users:7 email' '"zoe@example.com"'

step "8. A program that knows nothing of staged keys: HSET to users:1 itself"
note "in the mapping: \"plain_writes\": \"through\""
sed -i 's/"key": "id",/"key": "id", "plain_writes": "through",/' "$dir/users.json"
typed 'WT.RELOAD' OK
typed 'HSET users:1 last Doe' '(integer) 0'
queried 'select id, username, last_name from users where id = 1' '*1 | bar      | Doe*'
refused 'HSET users:2 email john@example.com' 'WTERR 23505 *constraint=users_email_key*'

step "9. Many rows in one command, each for itself"
typed 'WT.BATCH 3 4 HSET users:1 first Jo 4 HSET users:2 username bar 4 HSET users:7 last Low' '1) (integer) 0*2) (error) WTERR 23505 *3) (integer) 1'
same 1
same 7

step "10. Two rows together, or neither; and once, however often it is sent"
note "one more table, and its mapping in the document"
sql -c 'create table accounts (id int primary key, balance int not null check (balance >= 0))'
sql -c 'insert into accounts values (1, 100), (2, 20)'
sed -i 's/"mappings": \[/"mappings": [ { "table": "accounts" },/' "$dir/users.json"
typed 'WT.RELOAD' OK
typed 'WT.TRANSACTION 2 4 HINCRBY __{accounts:1} balance -10 4 HINCRBY __{accounts:2} balance 10' '1) (integer) 90*2) (integer) 30'
refused 'WT.TRANSACTION 2 4 HINCRBY __{accounts:1} balance 50 4 HINCRBY __{accounts:2} balance -50' \
  'WTERR 23514 *constraint=accounts_balance_check command=2 key=__{accounts:2}*'
typed 'WT.ONCE order-17 4 HINCRBY __{accounts:1} balance -30' '(integer) 60'
typed 'WT.ONCE order-17 4 HINCRBY __{accounts:1} balance -30' '(integer) 60'
queried 'select id, balance from accounts order by id' '*1 |      60*2 |      30*'

step "11. What another program changes arrives by itself"
note "\"follow\": true in the document, or FOLLOW true as above; nobody reads, writes or evicts the key:"
follows() { [[ "$(redis WT.TRIGGERS users)" == *missing*'(empty array)'* ]]; }
until_true 30 "the triggers" follows
queried "update users set last_name = 'Miller' where id = 1 returning id, last_name" '*1 | Miller*'
changed=$EPOCHREALTIME
arrived() { [ "$(redis --raw HGET users:1 last)" = Miller ]; }
until_true 30 "the change" arrived
note "… $(((${EPOCHREALTIME/[.,]/} - ${changed/[.,]/}) / 1000)) ms later:"
typed 'HGET users:1 last' '"Miller"'
same 1

step "With your own servers"
cat <<END
  psql example < $repo/examples/users.sql
  redis-cli MODULE LOAD $module CONFIG /path/to/users.json

  where users.json is a copy of $mapping with your url, or in redis.conf:

  loadmodule $module CONFIG /path/to/users.json

  (MODULE LOAD needs 'enable-module-command local' in redis.conf; \${PGPASSWORD} in the url is
  taken from redis-server's environment.)
END

if [ "${KEEP:-0}" = 1 ]; then
  cat >"$dir/stop" <<END
#!/bin/sh
# Ends the two servers of the demo and removes their files.
redis-cli -p $redis_port shutdown nosave
cd / && ${as_user[*]} $pg_ctl -D $dir/postgres stop -m fast >/dev/null
rm -rf $dir
END
  chmod +x "$dir/stop"
  keep=1
  step "Both servers are still running"
  cat <<END
  redis-cli -p $redis_port
  PGPASSWORD=$PGPASSWORD psql -h 127.0.0.1 -p $postgres_port -U app example

  stop them:  $dir/stop
END
fi
