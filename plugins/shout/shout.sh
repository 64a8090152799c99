#!/bin/sh
# Started once per call: {"context":{"message":"…"}} on stdin, the answer as JSON on stdout.
set -eu

# The message as it stands in the JSON, escapes included. A quote inside a string has a backslash before it, so the key
# cannot be imitated by a text.
message=$(sed -En 's/.*[{,][[:space:]]*"message"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)".*/found \1/p')
if [ -z "$message" ]; then
    echo 'expected {"message":"some text"}' >&2
    exit 1
fi

# Everything but the escapes becomes capital: \n must not turn into \N.
printf '%s' "${message#found }" | sed -E 's/(\\u[0-9A-Fa-f]{4}|\\.)|([^\\]+)/\1\U\2\E/g; s/.*/{"shout":"&!"}/'
[ "$message" != "found " ] || echo '{"shout":"!"}'
