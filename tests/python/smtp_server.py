"""A real SMTP server for tests: prints its port, then each mail it accepts, one JSON object a line, until its input closes.

With `--tls FOLDER` it speaks STARTTLS with a certificate of its own authority (written to FOLDER/ca.pem) and takes mail only
after a login; with `--implicit` beside, it speaks TLS from the first byte. Without, it takes plain mail and offers no STARTTLS.
"""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import pathlib
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


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
                "tls": server.transport.get_extra_info("ssl_object") is not None,
                "authenticated": bool(session.authenticated),
            }
        )
        return "250 OK"


def say(what):
    print(json.dumps(what), flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", type=pathlib.Path, help="folder for the authority's certificate")
    parser.add_argument("--implicit", action="store_true", help="TLS from the first byte")
    parser.add_argument("--username", default="monitor")
    parser.add_argument("--password", default="correct horse")
    options = parser.parse_args()

    def authenticate(server, session, envelope, mechanism, data):
        expected = (options.username.encode(), options.password.encode())
        # Not `handled`: the answer is left to the server.
        return AuthResult(success=(data.login, data.password) == expected, handled=False)

    # What clients do wrong here they do on purpose.
    logging.disable()
    warnings.simplefilter("ignore")
    behaviour, listening_context = {}, None
    if options.tls:
        import authority

        context = authority.server_context(options.tls)
        behaviour = {"auth_required": True, "authenticator": authenticate}
        if options.implicit:
            listening_context = context
            # It knows only of TLS that it began itself.
            behaviour["auth_require_tls"] = False
        else:
            behaviour |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Printer(), **behaviour), "127.0.0.1", 0, ssl=listening_context)
    say({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
