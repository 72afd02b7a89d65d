"""A real S3 service (moto's) on a free port, with one bucket "logs"; its requests are logged on standard error.

Called with a folder and "plain" or "tls"; with TLS it puts ca.pem there. It prints its port.
"""

import logging
import ssl
import sys
import threading

import boto3
import trustme
import werkzeug.serving
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

folder, mode = sys.argv[1:]
logging.getLogger("werkzeug").setLevel(logging.INFO)
werkzeug.serving._log_add_style = False
context = None
if mode == "tls":
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder + "/ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
app = DomainDispatcherApplication(create_backend_app)
server = make_server("localhost", 0, app, threaded=True, ssl_context=context)
threading.Thread(target=server.serve_forever).start()
scheme = "http" if context is None else "https"
boto3.client(
    "s3",
    endpoint_url=f"{scheme}://localhost:{server.port}",
    region_name="us-east-1",
    aws_access_key_id="key",
    aws_secret_access_key="secret",
    verify=folder + "/ca.pem" if context else None,
).create_bucket(Bucket="logs")
print(server.port, flush=True)
