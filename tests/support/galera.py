"""Two MariaDB servers that are a Galera cluster, on 127.0.0.1."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from support.instances import free_port, skip_without
from support.mariadb import MariaDBServer

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
# A node that comes back gets what it has missed (IST) from the other. To copy whole databases (SST) takes programs of
# further packages; the nodes begin as copies of each other, so that all that this has to do is to agree to that.
TRANSFER = """#!/bin/sh
case " $* " in
    *" --role joiner "*)
        rm -f "$TRANSFER"; echo "ready 127.0.0.1"
        while [ ! -s "$TRANSFER" ]; do sleep 0.05; done; cat "$TRANSFER" ;;
    *" --bypass "*)
        cat > /dev/null  # MariaDB 11 gives credentials
        while [ "$1" != --gtid ]; do shift; done
        echo "$2" > "$TRANSFER.new"; mv "$TRANSFER.new" "$TRANSFER"; echo "done $2" ;;
    *) exit 1 ;;
esac
"""


class Cluster:
    """Two nodes; the first one alone is a quorum, the second is not."""

    def __init__(self, folder: Path):
        if not PROVIDER.exists():
            skip_without("galera-4")
        script = folder / "bin/wsrep_sst_bypass"
        script.parent.mkdir()
        script.write_text(TRANSFER)
        script.chmod(0o755)
        first = MariaDBServer(folder / "1")
        second = MariaDBServer.__new__(MariaDBServer)
        second.__dict__ |= first.__dict__ | {
            "folder": folder / "2",
            "data": folder / "2/data",
            "port": free_port(),
            "process": None,
        }
        self.nodes = [first, second]
        ports = [free_port() for _ in self.nodes]
        started = list(first.command)
        for number, (node, port) in enumerate(zip(self.nodes, ports)):
            node.command = [word.replace(str(first.folder), str(node.folder)) for word in started]
            node.environ = os.environ | {
                "TRANSFER": str(folder / "transfer"),
                "PATH": f"{script.parent}:{os.environ['PATH']}",
            }
            provider = (
                f"gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{free_port()};"
                f"gcache.size=8M;pc.weight={2 - number};evs.suspect_timeout=PT3S;evs.inactive_timeout=PT6S"
            )
            node.options = [
                "--wsrep-on=ON",
                f"--wsrep-provider={PROVIDER}",
                f"--wsrep-provider-options={provider}",
                "--wsrep-cluster-address=gcomm://" + ",".join(f"127.0.0.1:{each}" for each in ports),
                f"--wsrep-node-address=127.0.0.1:{port}",
                f"--wsrep-node-name=node{number + 1}",
                "--wsrep-sst-method=bypass",
                f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
                "--binlog-format=ROW",
                "--innodb-autoinc-lock-mode=2",
            ]
        first.stop()
        first.start("--wsrep-new-cluster")
        self.wait(1)
        first.stop()
        second.folder.mkdir()
        shutil.copytree(
            first.data, second.data, ignore=shutil.ignore_patterns("gvwstate.dat", "galera.cache")
        )
        first.start("--wsrep-new-cluster")
        second.start()
        self.wait(2)

    def restart(self, node: MariaDBServer):
        """Start a node again, from the position that it had where it was killed; as systemd does."""
        found = subprocess.run(
            [
                *node.command,
                *node.options,
                "--wsrep-recover",
                "--port=0",
                f"--socket={node.folder / 'recover'}",
            ],
            capture_output=True,
            text=True,
            env=node.environ,
        )
        position = re.search(r"Recovered position: (\S+)", found.stdout + found.stderr)
        node.start(f"--wsrep-start-position={position[1]}")
        self.wait(2)

    def make_primary(self, node: MariaDBServer):
        """Let a node serve without the others, as its administrator would; MariaDB 11 has a variable for each option."""
        if node.sql("SHOW VARIABLES LIKE 'wsrep_provider_pc_bootstrap'"):
            node.sql("SET GLOBAL wsrep_provider_pc_bootstrap = ON")
        else:
            node.sql("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")

    def wait(self, size: int, seconds: float = 60):
        """Wait until so many nodes serve."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(Exception):
                status = [
                    dict(node.sql("SHOW STATUS LIKE 'wsrep%%'"))
                    for node in self.nodes
                    if node.process and node.process.poll() is None
                ]
                if [s["wsrep_local_state_comment"] for s in status] == ["Synced"] * size and all(
                    s["wsrep_cluster_size"] == str(size) and s["wsrep_ready"] == "ON" for s in status
                ):
                    return
            time.sleep(0.05)
        raise AssertionError(
            f"the cluster is not one of {size}:\n"
            + "".join((node.folder / "log").read_text(errors="replace")[-3000:] for node in self.nodes)
        )

    def stop(self):
        """Stop both nodes."""
        for node in reversed(self.nodes):
            node.stop()

    def url(self, database: str, *numbers: int) -> str:
        """Return the URL of a database on the hosts with these numbers, in their order."""
        hosts = ",".join(f"127.0.0.1:{self.nodes[number].port}" for number in numbers)
        return f"mysql://mail:se%2Fcret%40@{hosts}/{database}"
