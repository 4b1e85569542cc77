"""Writes an authority and certificates of its own into a folder: ca.pem, server.pem, server.key, client.pem, client.key."""

import pathlib
import sys

import trustme

folder = pathlib.Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(str(folder / "ca.pem"))
for name, identities in [("server", ["localhost", "127.0.0.1"]), ("client", ["client.example"])]:
    certificate = authority.issue_cert(*identities)
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    with open(folder / f"{name}.pem", "wb") as file:
        file.writelines(pem.bytes() for pem in certificate.cert_chain_pems)
