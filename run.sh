#!/usr/bin/env bash
# DummyMessenger in one command. For Linux, as root or as any user.
#
#   ./run.sh [run] [CLIENT OPTIONS]  the main job: builds, starts database and replicas, runs the client, stops all.
#                                    The exit status is the client's, or 1 if the tables show a violation
#   ./run.sh test [CARGO TEST ARGS]  all checks: format, clippy, docs, tests (with arguments: only these tests)
#   ./run.sh bench [OPTIONS]         measures the server against a constant reply and one transaction per message, in two
#                                    to four minutes; --json, --curves, --help
#   ./run.sh chaos [OPTIONS]         kills, freezes and cuts off replicas and a database of its own under load, for two
#                                    minutes: is any promise broken? --seed N, --minutes M, --help
#   ./run.sh cluster [OPTIONS]       the main job on a group of three MySQL servers; --failovers N, --compare, --help
#   ./run.sh up                      database and replicas stay up until Ctrl-C
#   ./run.sh mysql [ARGS]            the mysql command-line client on the database
#   ./run.sh clean                   removes .run/: the private database and the logs
#
#   DATABASE_URL=mysql://user:password@host:3306/dummy_messenger   uses this database. Without it a private one is
#                                    started in .run/, reachable by a Unix socket only; its data is kept between runs
#   REPLICAS=2                       how many; on the ports 8001, 8002 …, the next free one if one is taken
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin

job='' mysqld='' replica=() # processes: what is attended, the private database, the replicas by port
stopped=''                  # the exit status that a signal asked for
tied=()                     # what is started through this ends even when this script is killed with -9
if setpriv --pdeathsig TERM true 2>/dev/null; then tied=(setpriv --pdeathsig TERM); fi

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
die_with_log() { say "the last lines of $1:"; tail -n 8 -- "$1" >&2; die "$2"; }
first_of() { local name; for name in "$@"; do if type -P "$name"; then return; fi; done; }
pause() { sleep 0.2 || true; }

# --- Processes ---

# In a process group of its own: the terminal's Ctrl-C reaches only this script, which ends things in order.
spawn() { set -m; "${tied[@]}" "$@" </dev/null 6>&- 9>&- & spawned=$!; set +m; }
alive() { kill -0 -- "$1" 2>/dev/null; }

# Runs a command to its end with an eye on the rest. The status is the command's.
attend() {
  local status=0
  spawn "$@" 8>&-
  job=$spawned
  while alive "$job"; do pause; revive; done
  wait "$job" 2>/dev/null || status=$?
  end "-$job" 15 # what it left behind
  job=''
  [[ -z $stopped ]] || exit "$((status == 1 ? 1 : stopped))" # what it found until then stays found
  return "$status"
}

# Starts again what has died, at most once a second.
revive() {
  local port
  if [[ -n $mysqld ]] && ! alive "$mysqld"; then
    say 'the database died: starting it again'
    start_database
    sleep 1 || true
  fi
  for port in "${!replica[@]}"; do
    alive "${replica[port]}" && continue
    say "the replica on port $port died: starting it again"
    start_replica "$port"
    sleep 1 || true
  done
}

# The first signal asks the job to end in its own way, the second kills it. Without a job, all ends.
on_signal() {
  [[ -n $job ]] || exit "$1"
  kill "$([[ -z $stopped ]] && echo -INT || echo -KILL)" -- "-$job" 2>/dev/null || true
  stopped=$1
}

# TERM, and KILL after $2 seconds.
end() {
  local i
  kill -TERM -- "$1" 2>/dev/null || return 0
  for ((i = 0; i < $2 * 5; i++)); do alive "$1" || return 0; pause; done
  say "process ${1#-} does not stop, so it is killed"
  kill -KILL -- "$1"
}

finish() {
  local status=$? port
  trap '' INT TERM HUP PIPE
  set +e
  exec 6>&-
  [[ -z $job ]] || end "-$job" 10
  ((${#replica[@]} == 0)) || { say 'stopping the replicas'; kill -TERM "${replica[@]}" 2>/dev/null; }
  for port in "${!replica[@]}"; do end "${replica[port]}" 30; done
  if [[ -n $mysqld ]]; then
    flock -n 9 || { say 'another run.sh uses the database: waiting for it (Ctrl-C: not waiting)'; trap : INT; flock 9; }
    say 'stopping the database'
    end "$mysqld" 60
  fi
  exit "$status"
}

# --- The database ---

open_database() {
  local i error
  password='' database=dummy_messenger
  check_database
  connection=() # newer MariaDB clients would refuse the certificate that MySQL makes for itself
  if [[ $("$cli" --version) == *MariaDB* ]]; then connection=(--skip-ssl-verify-server-cert); fi
  if [[ -n ${DATABASE_URL:-} ]]; then given_database; else private_database; fi
  for ((i = 0; i < 200; i++)); do
    error=$(sql -N -e 'select version()' 2>&1) && say "database: $error" && set_up && return
    [[ $error =~ ERROR\ 20 ]] || break # anything but "cannot connect"
    [[ -z $mysqld ]] || alive "$mysqld" || die_with_log ".run/$kind.log" 'the database does not start'
    ((i != 10)) || say 'waiting for the database'
    pause
  done
  die "the database: $error"
}

sql() { MYSQL_PWD=$password "$cli" --no-defaults "${connection[@]}" --default-character-set=utf8mb4 "$@"; }

given_database() {
  local url='^mysql://(([^:@/?]*)(:([^@/?]*))?@)?(\[[^]]*\]|[^:/?]*)(:([0-9]+))?/([^/?]+)(\?(.*))?$'
  if [[ ! $DATABASE_URL =~ $url ]]; then
    say 'DATABASE_URL must look like mysql://user:password@host:3306/dummy_messenger'
    exit 2
  fi
  set -- "${BASH_REMATCH[@]}"
  password=$(decode "$5") database=$(decode "$9")
  connection+=(--user="$(decode "$3")")
  if [[ ${11} =~ (^|&)socket=([^&]+) ]]; then connection+=(--protocol=socket --socket="$(decode "${BASH_REMATCH[2]}")")
  else connection+=(--protocol=tcp --host="${6//[][]/}" --port="${8:-3306}"); fi
}

decode() { local text=${1//\\/\\\\}; printf '%b' "${text//%/\\x}"; }

# One script owns the private database: it and the server hold the lock .run/owner, which the kernel takes back
# however they end. Others use it meanwhile and hold .run/guests; the owner waits for them before it stops the server.
private_database() {
  local here=/proc/$$/cwd/.run # short for any path of the clone: 107 bytes are a socket's limit
  kind=${server##*/}
  connection+=(--user=root --protocol=socket --socket="$here/$kind/socket")
  export DATABASE_URL="mysql://root@localhost/$database?socket=$here/$kind/socket"
  replica_url=${DATABASE_URL/root/messenger}
  if ! mkdir -p .run || [[ ! -O .run ]]; then die '.run/ belongs to another user: remove it first'; fi
  chmod 700 .run
  exec 8>.run/owner 9>.run/guests
  until flock -n 8; do
    if flock -n -s 9 && sql -e 'select 1' >/dev/null 2>&1; then exec 8>&-; return; fi
    flock -u 9
    pause
  done
  [[ -d .run/$kind ]] || make_database
  start_database
}

# The replicas get a user of their own, with no more rights than they need.
set_up() {
  [[ -n ${replica_url:-} ]] || return 0
  sql -e "create database if not exists $database character set utf8mb4 collate utf8mb4_bin"
  sql "$database" <schema.sql
  sql "$database" -e "
    create user if not exists messenger@localhost;
    grant select, insert on messages to messenger@localhost;
    grant select, insert, update on counters to messenger@localhost;
    grant select on ordering_violations to messenger@localhost"
}

# Under another name first, so that an interrupted run leaves no half of a database.
make_database() {
  say 'making a new database in .run/'
  rm -rf ".run/$kind.new"
  case $kind in
    mariadbd) # this script takes no blank in the path, and without --force no host whose name it cannot look up
      set -- mariadb-install-db --force --no-defaults --datadir="$here/$kind.new" --auth-root-authentication-method=normal ;;
    mysqld)
      set -- "$server" --initialize-insecure --no-defaults --datadir="$PWD/.run/$kind.new" ;;
  esac
  attend "$@" --user="$(id -un)" >".run/$kind.log" 2>&1 || die_with_log ".run/$kind.log" 'no new database could be made'
  mv ".run/$kind.new" ".run/$kind"
}

start_database() {
  rm -f ".run/$kind"/{pid,socket,socket.lock} # of a server that was killed
  mkdir -p .run/tmp # in /tmp, a server that starts would remove the temporary tables of others
  # one writer a replica commits at a time, so MySQL's threads for its log would only add hand-overs
  spawn "$server" --no-defaults --user="$(id -un)" --datadir="$PWD/.run/$kind" --tmpdir="$PWD/.run/tmp" --pid-file=pid --socket=socket \
    --skip-networking --loose-innodb-log-writer-threads=OFF --loose-mysqlx=OFF --secure-file-priv= >>".run/$kind.log" 2>&1
  mysqld=$spawned
}

# --- What is needed ---

# $1: what is missing; then the Debian packages that have it.
install() {
  local what=$1 root=() packages=() name
  shift
  ((EUID == 0)) || root=(sudo)
  if [[ -z $(type -P apt-get) ]] || ! { ((EUID == 0)) || sudo -n true || { [[ -t 0 ]] && sudo -v; }; } 2>/dev/null; then
    if [[ -n $(type -P dnf) ]]; then set -- dnf install mariadb-server gcc
    elif [[ -n $(type -P pacman) ]]; then set -- pacman -S mariadb gcc
    else set -- apt-get install "$@"; fi
    die "no $what found. Install it: sudo $*"
  fi
  say "no $what found: installing $*"
  "${root[@]}" apt-get update -qq || true
  for name in "$@"; do packages+=("$(apt-cache pkgnames "$name" | sort | sed -n 1p)"); done # or name-10.6
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# MariaDB first: on Ubuntu, AppArmor keeps mysqld out of all folders but its own.
check_database() {
  cli=$(first_of mariadb mysql) server=$(first_of mariadbd mysqld)
  [[ -z $cli || -z ${DATABASE_URL:-$server} ]] || return 0
  install 'database server' mariadb-server-core mariadb-client-core
  cli=$(first_of mariadb mysql) server=$(first_of mariadbd mysqld)
}

check_cargo() {
  [[ -n $(type -P cargo) ]] || die 'no cargo found. Install Rust, see https://rustup.rs'
  [[ -n $(type -P cc) ]] || install 'C compiler (Rust links with it)' gcc libc6-dev
}

# $@: what is built beside server and client.
build() {
  check_database
  check_cargo
  binaries=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
  [[ -x $binaries/server && -x $binaries/client ]] || say 'first build: this takes some minutes'
  attend cargo build --release --locked -p server -p client --bin server --bin client "$@"
}

# --- The replicas ---

start_replicas() {
  local port status
  for ((port = 8001; ${#replica[@]} < replicas; port++)); do
    start_replica "$port"
    until is_ready "$port"; do
      pause
      alive "${replica[port]}" && continue
      status=0
      wait "${replica[port]}" || status=$?
      unset "replica[port]"
      ((status == 3)) || die_with_log ".run/replica-$port.log" "the replica on port $port ended with status $status"
      say "port $port is taken"
      continue 2
    done
    say "replica on http://127.0.0.1:$port"
  done
}

start_replica() {
  mkdir -p .run
  DATABASE_URL=${replica_url:-$DATABASE_URL} spawn "$binaries/server" --listen "127.0.0.1:$1" >>".run/replica-$1.log" 2>&1 8>&-
  replica[$1]=$spawned
}

# It is this replica that holds the port, no stranger. It listens when the database takes its messages, not before.
is_ready() {
  local inode
  inode=$(awk -v "address=0100007F:$(printf %04X "$1")" '$2 == address && $4 == "0A" { print $10 }' /proc/net/tcp)
  [[ -n $inode && -n $(find "/proc/${replica[$1]}/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]]
}

# --- The verbs ---

main_job() {
  local status=0 ports logs violations
  build
  open_database
  start_replicas
  ports=("${!replica[@]}")
  exec 6>.run/client # one at a time: to the client, messages of others are a fault
  flock -n 6 || say 'another client runs on this database: waiting for it'
  until flock -n 6; do pause; revive; done
  attend "$binaries/client" "$@" "${ports[@]/#/http:\/\/127.0.0.1:}" || status=$?
  ((status != 2)) || exit 2 # the command line was wrong
  logs=("${ports[@]/#/.run\/replica-}")
  ((status == 0)) || tail -n 4 "${logs[@]/%/.log}" >&2
  violations=$(sql -N -e 'select count(*) from ordering_violations' "$database")
  say "rows in ordering_violations: $violations"
  sql -t "$database" -e '
    select * from ordering_violations limit 10;
    select count(*) as messages, count(distinct user) as users, min(seq), max(seq) from messages;
    select seq, user, user_seq, sent_at from messages order by seq desc limit 3'
  ((violations == 0 || status != 0)) || status=1
  exit "$status"
}

run_tests() {
  check_database
  check_cargo
  if (($# == 0)); then
    attend cargo fmt --all --check
    attend cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS='-D warnings' attend cargo doc --workspace --no-deps --locked
  fi
  attend cargo test --workspace --locked --no-run
  open_database
  attend cargo test --workspace --locked "$@"
}

bench() {
  build -p testbed --bin bench --example constant --example one_per_message
  open_database
  attend "$binaries/bench" "$@"
}

chaos() {
  build -p testbed --bin chaos
  attend "$binaries/chaos" "$@"
}

cluster() {
  build -p testbed --bin cluster --example one_per_message
  attend "$binaries/cluster" "$@"
}

stay_up() {
  build
  open_database
  start_replicas
  local ports=("${!replica[@]}")
  say "try: curl -H 'Content-Type: application/json' -d '{\"user\": \"alice\", \"text\": \"hi\"}'" \
    "http://127.0.0.1:${ports[0]}/messages"
  say 'and: ./run.sh mysql. Ctrl-C stops all'
  trap 'exit 0' INT TERM
  while true; do pause; revive; done
}

command_line() {
  open_database
  trap : INT # is for the command line
  if sql "$database" -e '' 2>/dev/null; then set -- --database="$database" "$@"; fi
  sql "$@"
}

clean() {
  [[ -d .run ]] || return 0
  exec 8>.run/owner
  flock -n 8 || die 'a run.sh is at work here: stop it first'
  rm -rf .run
  say 'removed .run/ ("cargo clean" removes what was built)'
}

trap finish EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM
trap 'on_signal 129' HUP
replicas=${REPLICAS:-2}
[[ $replicas =~ ^[1-9][0-9]?$ ]] || { say 'REPLICAS must be 1 to 99'; exit 2; }
case ${1:-run} in
  run) main_job "${@:2}" ;;
  test) run_tests "${@:2}" ;;
  bench) bench "${@:2}" ;;
  chaos) chaos "${@:2}" ;;
  cluster) cluster "${@:2}" ;;
  up) stay_up ;;
  mysql) command_line "${@:2}" ;;
  clean) clean ;;
  help | -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' run.sh ;;
  -*) main_job "$@" ;;
  *) say "unknown: $1. Try ./run.sh help"; exit 2 ;;
esac
