"""Says whether the query of a request to a DingTalk robot is signed with a secret: the example of DingTalk's documentation, read backwards."""

import base64
import hashlib
import hmac
import sys
import urllib.parse

query, secret = sys.argv[1:]
fields = urllib.parse.parse_qs(query, strict_parsing=True)
(timestamp,), (sign,), (token,) = fields["timestamp"], fields["sign"], fields["access_token"]
message = f"{timestamp}\n{secret}".encode()
expected = base64.b64encode(hmac.new(secret.encode(), message, digestmod=hashlib.sha256).digest()).decode()
print(timestamp, token, sign == expected)
