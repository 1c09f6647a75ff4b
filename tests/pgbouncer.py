"""Debian's PgBouncer between a test and its database, lending a server for each transaction."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from spane_otel.stores.embedded.account import server_account
from tests.servers import await_port, public_folder


def pgbouncer_program() -> str | None:
    """Return the path of pgbouncer; Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def serve_pgbouncer(program: str, server_url: str, servers: int) -> Iterator[str]:
    """Yield a URL that leads to `server_url` through a PgBouncer with at most `servers` connections to it."""
    server = urlsplit(server_url)
    folder_or_host = parse_qs(server.query).get("host", [server.hostname])[0]
    port = parse_qs(server.query).get("port", [server.port or 5432])[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own_port = probe.getsockname()[1]
    with public_folder() as folder:
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            "[databases]\n"
            f"* = host={folder_or_host} port={port} user={server.username}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {own_port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {servers}\nmax_client_conn = 200\n"
        )
        # PgBouncer refuses to run as root, as the server does.
        with (folder / "pgbouncer.log").open("wb") as log:
            process = subprocess.Popen(
                [program, str(settings)], stdout=log, stderr=log, **server_account().popen_options()
            )
        try:
            await_port(own_port)
            yield f"postgresql://{server.username}@127.0.0.1:{own_port}{server.path}"
        finally:
            process.terminate()
            process.wait(20)
