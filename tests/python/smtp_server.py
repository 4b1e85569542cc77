"""A real SMTP server for tests: prints its port, then each mail it accepts, one JSON object a line, until its input closes.

With `--tls FOLDER` it speaks STARTTLS with a certificate of its own authority (written to FOLDER/ca.pem) and takes mail only
after a login; without, it takes plain mail.
"""

import argparse
import email
import email.policy
import json
import pathlib
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Printer:
    """Prints what arrives."""

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if part.get_content_maintype() == "text"}
        say(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "subject": str(message["Subject"]),
                "message_id": str(message["Message-ID"]),
                "headers": {name: str(value) for name, value in message.items()},
                "text": parts.get("text/plain", ""),
                "html": parts.get("text/html", ""),
                "tls": session.ssl is not None,
                "authenticated": bool(session.authenticated),
            }
        )
        return "250 OK"


def say(what):
    print(json.dumps(what), flush=True)


def certificate(folder):
    """Makes an authority and a server certificate for `localhost`; returns the server's TLS context."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", type=pathlib.Path, help="folder for the authority's certificate")
    parser.add_argument("--username", default="monitor")
    parser.add_argument("--password", default="correct horse")
    options = parser.parse_args()

    def authenticate(server, session, envelope, mechanism, data):
        expected = (options.username.encode(), options.password.encode())
        return AuthResult(success=(data.login, data.password) == expected)

    tls = {}
    if options.tls:
        tls = {
            "tls_context": certificate(options.tls),
            "require_starttls": True,
            "auth_required": True,
            "authenticator": authenticate,
        }
    # aiosmtpd's controller calls back to the port it was given, so it must know a free one before it starts.

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Printer(), hostname="127.0.0.1", port=port, **tls)
    controller.start()
    say({"port": port})
    sys.stdin.read()
    controller.stop()


if __name__ == "__main__":
    main()
