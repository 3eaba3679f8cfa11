#!/bin/sh
# Makes a clip at a sandbox and prints what the sandbox printed:
# sandbox_session.sh FILE [FLAG...]
file=$1
shift
"$LUA" bin/luma sandbox "$@" >"$file" 2>&1 &
sandbox=$!
until grep -qs export "$file"; do sleep 0.05; done
export LUMA_API_KEY=sandbox XDG_CONFIG_HOME=/nowhere
LUMA_BASE_URL=$(sed -n 's/.* at //p' "$file")
export LUMA_BASE_URL
"$LUA" bin/luma generate "a boat" --poll-interval 0.05 >/dev/null 2>&1
kill "$sandbox"
cat "$file"
