"""A real SMTP server for tests: TLS with a certificate of its own, login required, stores every mail.

usage: smtp_server.py FOLDER starttls|implicit
Prints its port, then serves until it is killed. Recipients that begin with "reject" are refused with 550.
"""

import asyncio
import os
import ssl
import sys

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

folder, mode = sys.argv[1:]
authority = trustme.CA()
authority.cert_pem.write_to_path(os.path.join(folder, "ca.pem"))
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("localhost").configure_cert(context)


class Store:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("reject"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        Store.count += 1
        name = os.path.join(folder, f"{Store.count}.eml")
        head = f"X-Envelope: {envelope.mail_from} -> {','.join(envelope.rcpt_tos)}\r\n"
        with open(name + ".part", "wb") as file:
            file.write(head.encode() + envelope.original_content)
        os.rename(name + ".part", name)
        return "250 stored"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"logkeeper", b"s3cret pass")
    return AuthResult(success=good, handled=False)


def protocol():
    return SMTP(
        Store(),
        hostname="localhost",
        tls_context=context if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        auth_required=True,
        auth_require_tls=mode == "starttls",
        authenticator=authenticate,
    )


async def main():
    tls = context if mode == "implicit" else None
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
