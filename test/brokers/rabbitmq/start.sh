#!/usr/bin/env bash
# Makes RabbitMQ answer at AMQP_URL, or where it listens by itself: nothing is done where one does; otherwise Debian's is installed, if it is not,
# and started. It is left running.
set -euo pipefail
address="${AMQP_URL:-amqp://guest:guest@127.0.0.1:5672}"
rest="${address#*://}"
rest="${rest#*@}"
rest="${rest%%/*}"
host="${rest%%:*}"
port="${rest##*:}"
[[ "$port" == "$host" ]] && port=5672

answers() { timeout 2 bash -c "exec 3<>/dev/tcp/$host/$port" 2>/dev/null; }

if answers; then
  echo "RabbitMQ answers at $host:$port"
  exit 0
fi
if [[ "$host" != 127.0.0.1 && "$host" != localhost ]]; then
  echo "RabbitMQ does not answer at $host:$port, which is another machine" >&2
  exit 1
fi
command -v rabbitmq-server >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server
rabbitmq-server -detached
for _ in $(seq 1 120); do
  if answers; then
    echo "RabbitMQ was started, and answers at $host:$port"
    exit 0
  fi
  sleep 0.5
done
echo "RabbitMQ was started and does not answer at $host:$port" >&2
exit 1
