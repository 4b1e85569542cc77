"""A certificate authority of a test's own."""

import ssl

import trustme


def server_context(folder):
    """Makes an authority and a certificate for `localhost`; returns the server's TLS context and writes FOLDER/ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context
