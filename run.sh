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
#   ./run.sh reports [CLIENT OPTIONS]  the reports: API, two workers, calls of 200 phones, client, verdict
#   ./run.sh chat                    the chat: two processes of the page, one of answers, one of proofs, until Ctrl-C
#   ./run.sh planner                 the planner: two processes of users, one of goals, a walk through them, until Ctrl-C
#   ./run.sh reports|chat|planner bench [OPTIONS]   measures it; --help
#   ./run.sh up                      database and replicas stay up until Ctrl-C
#   ./run.sh mysql [ARGS]            the mysql command-line client on the database
#   ./run.sh clean                   removes .run/: the private database and the logs
#
#   DATABASE_URL=mysql://user:password@host:3306/dummy_messenger   uses this database. Without it a private one is
#                                    started in .run/, reachable by a Unix socket only; its data is kept between runs
#   DATABASE_SERVER=/path/to/mysqld  the server of a private one, rather than the first mariadbd or mysqld that is found
#   REPLICAS=2                       how many; on the ports 8001, 8002 …, the next free one if one is taken
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin

declare -A pid=() start=() # by name: the processes that are kept alive, and the shell commands that start them
job='' stopped=''          # the process in the foreground, and the exit status that a signal asked for
url='' urls=()             # the database of the servers that are started, and their addresses
kind=mariadbd              # the program of the private database; also names its folder and log in .run/, and its process
tied=()                    # a prefix of commands: they end even when this script is killed with -9
if setpriv --pdeathsig TERM true 2>/dev/null; then tied=(setpriv --pdeathsig TERM); fi

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
die_with_log() { say "the last lines of $1:"; tail -n 8 -- "$1" >&2; die "$2"; }
first_of() { local name; for name in "$@"; do if type -P "$name"; then return; fi; done; }
pause() { sleep 0.2 || true; }

# --- Processes ---

# Starts a command in a process group of its own: Ctrl-C reaches only this script, which ends the processes in order.
spawn() { set -m; "${tied[@]}" "$@" </dev/null 6>&- 9>&- & spawned=$!; set +m; }
alive() { kill -0 -- "$1" 2>/dev/null; }

# Runs a command to its end, and meanwhile restarts kept processes that die. Returns the command's status.
attend() {
  local status=0
  spawn "$@" 8>&-
  job=$spawned
  while alive "$job"; do pause; revive; done
  wait "$job" 2>/dev/null || status=$?
  end "-$job" 15 # processes that it left behind
  job=''
  [[ -z $stopped ]] || exit "$((status == 1 ? 1 : stopped))" # violations that it found before remain its result
  return "$status"
}

# Starts a process that is kept running: $1 is its name, and its log .run/$1.log; the command follows. Its database is $url.
keep() {
  local command=("${@:2}")
  start[$1]="DATABASE_URL=${url@Q} spawn ${command[*]@Q}"
  launch "$1"
}
launch() { mkdir -p .run && eval "${start[$1]}" >>".run/$1.log" 2>&1 && pid[$1]=$spawned; }

# Restarts kept processes that have died, at most one per second.
revive() {
  local name
  for name in "${!pid[@]}"; do
    alive "${pid[$name]}" && continue
    say "$name died: starting it again"
    launch "$name"
    sleep 1 || true
  done
}

# Starts and keeps $3 processes of the server $1, on the free ports from $2 on; the command follows, and gets --listen. They
# are ready when they listen. Sets $urls.
serve() {
  local port name status
  urls=()
  for ((port = $2; ${#urls[@]} < $3; port++)); do
    name=$1-$port
    keep "$name" "${@:4}" --listen "127.0.0.1:$port"
    until listens "${pid[$name]}" "$port"; do
      pause
      alive "${pid[$name]}" && continue
      status=0
      wait "${pid[$name]}" || status=$?
      unset "pid[$name]"
      ((status == 3)) || die_with_log ".run/$name.log" "$name ended with status $status"
      say "port $port is taken"
      continue 2
    done
    urls+=("http://127.0.0.1:$port")
    say "$1 on ${urls[-1]}"
  done
}

# Whether process $1, and no other, listens on port $2. A server listens only after its database is ready.
listens() {
  local inode
  inode=$(awk -v "address=0100007F:$(printf %04X "$2")" '$2 == address && $4 == "0A" { print $10 }' /proc/net/tcp)
  [[ -n $inode && -n $(find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null) ]]
}

# Prints $1, and keeps the processes running until Ctrl-C, which is not an error then.
stay() {
  trap 'exit 0' INT TERM
  say "$1"
  while true; do pause; revive; done
}

# The first signal interrupts the job, the second kills it. Without a job, the script ends.
on_signal() {
  [[ -n $job ]] || exit "$1"
  kill "$([[ -z $stopped ]] && echo -INT || echo -KILL)" -- "-$job" 2>/dev/null || true
  stopped=$1
}

# Sends TERM to $1, and KILL after $2 seconds.
end() {
  local i
  kill -TERM -- "$1" 2>/dev/null || return 0
  for ((i = 0; i < $2 * 5; i++)); do alive "$1" || return 0; pause; done
  say "process ${1#-} does not stop, so it is killed"
  kill -KILL -- "$1"
}

finish() {
  local status=$? name server=${pid[$kind]:-}
  trap '' INT TERM HUP PIPE
  set +e
  exec 6>&-
  [[ -z $job ]] || end "-$job" 10
  unset "pid[$kind]"
  ((${#pid[@]} == 0)) || { say "stopping ${!pid[*]}"; kill -TERM "${pid[@]}" 2>/dev/null; }
  for name in "${!pid[@]}"; do end "${pid[$name]}" 30; done
  if [[ -n $server ]]; then
    flock -n 9 || { say 'another run.sh uses the database: waiting for it (Ctrl-C: not waiting)'; trap : INT; flock 9; }
    say 'stopping the database'
    end "$server" 60
  fi
  exit "$status"
}

# --- The database ---

open_database() {
  local i error
  password='' database=dummy_messenger
  check_database
  connection=() # newer MariaDB clients would refuse MySQL's self-signed certificate
  if [[ $("$cli" --version) == *MariaDB* ]]; then connection=(--skip-ssl-verify-server-cert); fi
  is_private=''
  if [[ -n ${DATABASE_URL:-} ]]; then given_database; else private_database; fi
  for ((i = 0; ; i++)); do
    if error=$(sql -N -e 'select version()' 2>&1); then
      say "database: $error"
      provide "$database" schema.sql 'select, insert on messages' 'select, insert, update on counters' 'select on ordering_violations'
      return
    fi
    [[ $error =~ ERROR\ 20(02|03|06|13) ]] || break # any error but "cannot connect" and "connection lost"
    if [[ -z ${pid[$kind]:-} ]]; then ((i < 200)) || break # a private one may have to recover from a crash
    else alive "${pid[$kind]}" || die_with_log ".run/$kind.log" 'the database does not start'; fi
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

# One script owns the private database: it and the server hold the lock .run/owner, which the kernel releases
# however they end. Other scripts use it meanwhile and hold .run/guests; the owner waits for them before it stops the server.
private_database() {
  local i here=/proc/$$/cwd/.run # short for any path of the clone: the path of a socket is limited to 107 bytes
  kind=${server##*/} is_private=yes
  connection+=(--user=root --protocol=socket --socket="$here/$kind/socket")
  export DATABASE_URL="mysql://root@localhost/$database?socket=$here/$kind/socket"
  if ! mkdir -p .run || [[ ! -O .run ]]; then die '.run/ belongs to another user: remove it first'; fi
  chmod 700 .run
  exec 8>.run/owner 9>.run/guests
  for ((i = 0; ; i++)); do
    if flock -n 8; then break; fi
    if flock -n -s 9 && sql -e 'select 1' >/dev/null 2>&1; then exec 8>&-; return; fi
    flock -u 9
    ((i != 10)) || say 'waiting for another run.sh, which owns .run/, and may have another database'
    pause
  done
  [[ -d .run/$kind ]] || make_database
  start[$kind]=start_database
  launch "$kind"
}

# Sets $url to the database $1 on this server. On the private one, creates it with the schema $2, and a user of the same name with
# only the rights that follow; elsewhere the service creates its tables itself.
provide() {
  local name=$1 right
  [[ $DATABASE_URL =~ ^(mysql://[^/]*/)([^?]*)(.*)$ ]]
  url=${BASH_REMATCH[1]}$([[ $name == "$database" ]] && echo "${BASH_REMATCH[2]}" || echo "$name")${BASH_REMATCH[3]}
  [[ -n $is_private ]] || return 0
  url=${url/root/$name}
  sql -e "create database if not exists $name character set utf8mb4 collate utf8mb4_bin; create user if not exists $name@localhost"
  sql "$name" <"$2"
  for right in "${@:3}"; do sql "$name" -e "grant $right to $name@localhost"; done
}

# Under another name first, so that an interrupted run leaves no incomplete database.
make_database() {
  say 'making a new database in .run/'
  rm -rf ".run/$kind.new"
  case $kind in
    *mariadb*) # this program accepts no blank in the path, and without --force no host whose name it cannot resolve
      set -- mariadb-install-db --force --no-defaults --datadir="$here/$kind.new" --auth-root-authentication-method=normal ;;
    *)
      set -- "$server" --no-defaults --initialize-insecure --datadir="$PWD/.run/$kind.new" ;;
  esac
  attend "$@" --user="$(id -un)" >".run/$kind.log" 2>&1 || die_with_log ".run/$kind.log" 'no new database could be made'
  mv ".run/$kind.new" ".run/$kind"
}

start_database() {
  rm -f ".run/$kind"/{pid,socket,socket.lock} # of a server that was killed
  mkdir -p .run/tmp # in /tmp, a server that starts would remove the temporary tables of others
  # one writer per replica commits at a time, so MySQL's log writer threads would only add context switches
  spawn "$server" --no-defaults --user="$(id -un)" --datadir="$PWD/.run/$kind" --tmpdir="$PWD/.run/tmp" --pid-file=pid --socket=socket \
    --skip-networking --loose-innodb-log-writer-threads=OFF --loose-mysqlx=OFF --secure-file-priv=
}

# --- What is needed ---

# Installs a missing program. $1: its name, for messages; then the Debian packages that contain it.
install() {
  local what=$1 root=() packages=() name
  shift
  ((EUID == 0)) || root=(sudo)
  if [[ -z $(type -P apt-get) ]] || ! { ((EUID == 0)) || sudo -n true || { [[ -t 0 ]] && sudo -v; }; } 2>/dev/null; then
    die "no $what found. Install it; with apt-get: sudo apt-get install $*"
  fi
  say "no $what found: installing $*"
  "${root[@]}" apt-get update -qq || true
  for name in "$@"; do packages+=("$(apt-cache pkgnames "$name" | sort | sed -n 1p)"); done # or name-10.6
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# Prefers MariaDB, because on Ubuntu AppArmor denies mysqld all folders but its own.
check_database() {
  find_database || { install 'database server' mariadb-server-core mariadb-client-core; find_database; }
}
find_database() {
  cli=$(first_of mariadb mysql) server=$(first_of mariadbd mysqld)
  if [[ -n ${DATABASE_SERVER:-} ]]; then server=$(type -P "$DATABASE_SERVER") || die "there is no program DATABASE_SERVER=$DATABASE_SERVER"; fi
  [[ -n $cli && -n ${DATABASE_URL:-$server} ]]
}

check_cargo() {
  [[ -n $(type -P cargo) ]] || die 'no cargo found. Install Rust, see https://rustup.rs'
  [[ -n $(type -P cc) ]] || install 'C compiler (Rust links with it)' gcc libc6-dev
}

# Builds the programs $@, with the features of the whole workspace, so that the verbs share artifacts. Sets $binaries.
build() {
  check_database
  check_cargo
  binaries=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
  [[ -d $binaries ]] || say 'first build: this takes some minutes'
  attend cargo build --release --locked --workspace "$@"
}

# --- The verbs ---
#
# A verb for another server calls: build, open_database, provide for a database of its own, serve for processes with ports, keep
# for those without, and attend for its client, or stay.

messenger=(--bin server --bin client)

start_replicas() {
  build "${messenger[@]}"
  open_database
  serve replica 8001 "$replicas" "$binaries/server"
}

main_job() {
  local status=0 logs violations
  start_replicas
  exec 6>.run/client # one at a time, because a client reports messages of others as a fault
  flock -n 6 || say 'another client runs on this database: waiting for it'
  until flock -n 6; do pause; revive; done
  attend "$binaries/client" "$@" "${urls[@]}" || status=$?
  ((status != 2)) || exit 2 # the command line was wrong
  logs=("${urls[@]/#*:/.run\/replica-}")
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
  build "${messenger[@]}" --bin bench --example constant --example one_per_message
  open_database
  attend "$binaries/bench" "$@"
}

# Chaos and cluster start databases of their own in .run/, one of them at a time.
testbed() {
  build "${messenger[@]}" --bin "$1" --example one_per_message
  mkdir -p .run
  exec 7>.run/testbed
  flock -n 7 || die 'another chaos or cluster is at work here'
  attend "$binaries/$1" "${@:2}"
}

# Runs the service $1, whose program has the same name; with `bench`, its benchmark, an example with a database of its own.
service() {
  local name examples=()
  [[ ${2:-} != bench ]] || for name in services/"$1"/examples/*; do examples+=(--example "$(basename "$name" .rs)"); done
  build --bin "$1" "${examples[@]}"
  open_database
  if [[ ${2:-} == bench ]]; then attend "$binaries/examples/$1_bench" "${@:3}"; else "$@"; fi
}

reports() {
  provide reports services/reports/schema.sql 'select, insert on calls' 'select, insert, update on call_durations' \
    'select, insert, update on loads' 'select, insert, update on tasks' 'select, insert, update, delete on jobs'
  DATABASE_URL=$url attend "$binaries/reports" load --generate 200x5000
  keep reports-worker-1 "$binaries/reports" worker
  keep reports-worker-2 "$binaries/reports" worker
  serve reports-api 8000 1 "$binaries/reports" api
  attend "$binaries/reports" client --url "${urls[0]}" "$@"
}

chat() {
  provide chat services/chat/schema.sql 'select, insert, update, delete on *'
  serve chat-web 8000 2 "$binaries/chat" web
  keep chat-messager "$binaries/chat" messager
  keep chat-worker "$binaries/chat" worker
  stay "the page: ${urls[0]}/pages/chat, and of the other process: ${urls[1]}/pages/chat. Ctrl-C stops all"
}

planner() {
  [[ -n $(type -P curl) ]] || install 'curl (the walk asks with it)' curl
  provide planner_users services/planner/schema-users.sql 'select, insert, update, delete on *'
  serve planner-users 8000 2 "$binaries/planner" users
  local users=${urls[0]}
  provide planner_goals services/planner/schema-goals.sql 'select, insert, update, delete on *'
  serve planner-goals 8002 1 "$binaries/planner" goals --users-url "$users"
  attend services/planner/walk.sh "$users" "${urls[0]}"
  stay "users: $users/docs, goals: ${urls[0]}/docs. Ctrl-C stops all"
}

stay_up() {
  start_replicas
  say "try: curl -H 'Content-Type: application/json' -d '{\"user\": \"alice\", \"text\": \"hi\"}' ${urls[0]}/messages"
  stay 'and: ./run.sh mysql. Ctrl-C stops all'
}

command_line() {
  open_database
  trap : INT # Ctrl-C is for the command line
  if sql "$database" -e '' 2>/dev/null; then set -- --database="$database" "$@"; fi
  sql "$@"
}

clean() {
  [[ -d .run ]] || return 0
  exec 7>.run/testbed 8>.run/owner
  flock -n 7 && flock -n 8 || die 'a run.sh is at work here: stop it first'
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
  chaos | cluster) testbed "$@" ;;
  reports | chat | planner) service "$@" ;;
  up) stay_up ;;
  mysql) command_line "${@:2}" ;;
  clean) clean ;;
  help | -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' run.sh ;;
  -*) main_job "$@" ;;
  *) say "unknown: $1. Try ./run.sh help"; exit 2 ;;
esac
