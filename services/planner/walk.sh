#!/usr/bin/env bash
# A walk through the planner: shows each curl command before it runs it. Ends with a non-zero status if an answer has another
# status than expected.
#
#   walk.sh [URL OF USERS] [URL OF GOALS]
set -euo pipefail
users=${1:-http://127.0.0.1:8000} goals=${2:-http://127.0.0.1:8001}
token='' answer=''

# Sends a request with the token. $1: the expected status; then curl's arguments. Token and ADMIN_PASSWORD are not shown.
request() {
  local status=$1 argument shown='$ curl'
  shift
  for argument in "$@"; do
    if [[ -n ${ADMIN_PASSWORD:-} && $argument == password=* ]]; then shown+=' password=…'
    elif [[ $argument == *[!A-Za-z0-9_.:/=?-]* ]]; then shown+=" '$argument'"; else shown+=" $argument"; fi
  done
  echo "$shown${token:+ -H \"\$TOKEN\"}"
  answer=$(curl --silent --write-out '\n%{http_code}' "$@" ${token:+--header "Authorization: Bearer $token"})
  sed 's/\("[a-z]*_token":"\)[^"]*/\1…/g' <<<"${answer%$'\n'*}"
  [[ ${answer##*$'\n'} == "$status" ]] || { echo "walk.sh: the status is ${answer##*$'\n'}, not $status" >&2; exit 1; }
}
member() { sed "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/;q" <<<"$answer"; }

request 200 "$users/token" -d username=admin --data-urlencode "password=${ADMIN_PASSWORD:-secret}"
token=$(member access_token)
echo "\$ TOKEN='Authorization: Bearer …'"
request 200 "$users/users?login=ivan"
if [[ $answer != *'"login":"ivan"'* ]]; then
  request 201 "$users/users" --json '{"login":"ivan","password":"correct horse","first_name":"Иван","last_name":"Петров"}'
fi
request 200 -G "$users/users" --data-urlencode 'first_name=ив*' --data-urlencode 'last_name=*ро?'
ivan=$(member id)
request 201 "$goals/goals" --json '{"title":"Learn to swim","due":"2027-06-01"}'
goal=$goals/goals/$(member id)
request 201 "$goal/tasks" --json "{\"title\":\"Find a pool\",\"priority\":\"high\",\"assignee_id\":$ivan}"
task=$goal/tasks/$(member id)
request 409 -X PATCH "$task" --json '{"status":"done"}'
request 200 -X PATCH "$task" --json '{"status":"in_progress"}'
request 200 -X PATCH "$task" --json '{"status":"done"}'
request 200 "$task/history"
request 200 "$goal"
