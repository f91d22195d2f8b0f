#!/bin/sh
# dicomweb-client sends an upload of more than 1 MB again without its content, and calls it stored.
#
# Versions: dicomweb-client 0.61.2, requests 2.34.2, retrying 1.4.2, pydicom 3.0.2 (PyPI), Python 3.11.
# By default it repeats what a server answers with 429, 408, 503 or 504. Above its chunk_size (10**6 bytes) the
# message is a generator, made once for all attempts, which the first of them has used up.
# The standard: 503 says that the request can be repeated (RFC 9110, 15.6.4); repeating it means the same content.
# Seen: a server that answers 503 and then 200 gets 2400677 bytes, and then 0. The client raises nothing.
# Output seen:
#   bytes received: [2400677, 0]; store_instances returned a dataset with 0 elements
# So: switch its repeating off (set_http_retry_params(retry=False)) for uploads, repeat them whole, and look for
# every object in ReferencedSOPSequence of the answer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dicomweb-client==0.61.2 requests==2.34.2 \
  retrying==1.4.2 pydicom==3.0.2
cat > upload.py <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

received = []


class Busy(BaseHTTPRequestHandler):
    """Answers the first request with 503, the second with 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = 0
        while size := int(self.rfile.readline(), 16):
            content += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        received.append(content)
        self.send_response(503 if len(received) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
threading.Thread(target=server.serve_forever, daemon=True).start()
image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
image.preamble = bytes(128)
image.Rows, image.Columns, image.BitsAllocated = 1200, 1000, 16
image.PixelData = bytes(2 * 1200 * 1000)
image["PixelData"].VR = "OW"
stored = DICOMwebClient(f"http://127.0.0.1:{server.server_address[1]}").store_instances([image])
print(f"bytes received: {received}; store_instances returned a dataset with {len(stored)} elements")
assert received[0] > 2_400_000 and received[1:] == [0]
PYTHON
venv/bin/python -I upload.py
