#!/usr/bin/env bash
# Installs Debian's RabbitMQ, where none is installed. Tests start nodes of their own, so whether the package also brings up a service
# of its own is all the same: in a container, or where its port is taken, it cannot.
set -euo pipefail
installed() { [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || command -v rabbitmq-server >/dev/null; }

if installed; then
  echo 'RabbitMQ is installed'
  exit 0
fi
command -v apt-get >/dev/null || { echo 'RabbitMQ is not installed, and there is no apt-get to install it with' >&2; exit 1; }
as_root=()
((EUID == 0)) || as_root=(sudo -n)
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=60 -o Acquire::Retries=2 -o Acquire::http::Timeout=20 "$@" </dev/null
}
apt update || echo 'the lists of packages are not renewed; trying with those that are there' >&2
# It fails where the service does not start, although all of it is there.
apt install -y --no-install-recommends rabbitmq-server || true
installed || { echo 'RabbitMQ could not be installed' >&2; exit 1; }
echo 'RabbitMQ was installed'
