"""A real S3 server on this machine, with one user who may do anything: SeaweedFS's one binary."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tracking_servers import free_port, wait_until

KEY_ID, SECRET = "ricenet-tests", "no-secret-of-anybody"


class S3Server:
    """Where it listens, and what its user needs in the environment."""

    def __init__(self, folder: Path) -> None:
        self.data, self._config, self._log = folder / "s3", folder / "s3.json", folder / "s3.log"
        self.data.mkdir()
        user = {
            "name": "anna",
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        self._config.write_text(json.dumps({"identities": [user]}))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}

    def start(self) -> None:
        ports = {
            f"{name}.port{kind}": free_port()
            for name in ("master", "volume", "filer")
            for kind in ("", ".grpc")
        }
        options = {"dir": self.data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", **ports}
        options |= {"s3.port": self.port, "s3.port.grpc": free_port(), "s3.config": self._config}
        # other tables and doors that nobody asks here
        options |= {"s3.port.iceberg": 0, "s3.port.lance": 0, "volume.max": 4, "master.volumeSizeLimitMB": 64}
        weed = Path(sys.executable).with_name("weed")
        command = [str(weed), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.data, stdout=log, stderr=log)
        wait_until(self._answers, 60)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()[-3000:]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/status")
                return connection.getresponse().status < 500
            except OSError:
                return False


@contextlib.contextmanager
def s3_server(folder: Path, bucket: str) -> Iterator[S3Server]:
    """A server that is up, with an empty bucket."""
    import boto3

    server = S3Server(folder)
    try:
        server.start()
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket=bucket)
        yield server
    finally:
        server.kill()
