"""Sends documents with Elasticsearch's official client for Python and its bulk helper; prints what the helper says, as JSON."""

import argparse
import datetime
import json

parser = argparse.ArgumentParser()
parser.add_argument("--url", required=True, help="with /elasticsearch")
parser.add_argument("--client", choices=["7", "8"], required=True)
parser.add_argument("--service", default="shop")
parser.add_argument("--count", type=int, default=100)
parser.add_argument("--token", help="the host's token, as the key of an API key")
options = parser.parse_args()

if options.client == "7":
    from elasticsearch7 import Elasticsearch, helpers
else:
    from elasticsearch8 import Elasticsearch, helpers

more = {"api_key": ("watchfire", options.token) if options.client == "7" else None} if options.token else {}
client = Elasticsearch([options.url], **{key: value for key, value in more.items() if value})
now = datetime.datetime.now(datetime.timezone.utc)


def actions():
    """Yields documents of every kind that is taken, and some that are not."""
    for number in range(options.count):
        document = {
            "@timestamp": (now + datetime.timedelta(microseconds=number)).isoformat(),
            "message": f"order {number} – 日本語",
            "log.level": "error" if number % 2 else "info",
            "service": {"name": options.service},
            "order": {"id": number, "lines": [1, 2]},
        }
        yield {"_op_type": "create" if number % 3 else "index", "_index": "shop-2026.11.24", "_source": document}
    yield {"_op_type": "create", "_index": "shop", "_id": "old", "_source": {"@timestamp": "1999-01-01T00:00:00Z", "message": "too old"}}
    yield {"_op_type": "delete", "_index": "shop", "_id": "1"}


successful, errors = helpers.bulk(client, actions(), chunk_size=40, raise_on_error=False)
single = client.index(index="shop", **({"body": {"message": "single", "service": {"name": options.service}}} if options.client == "7" else {"document": {"message": "single", "service": {"name": options.service}}}))
print(json.dumps({
    "version": client.info()["version"]["number"],
    "successful": successful,
    "errors": [{"action": action, "status": item["status"], "reason": item["error"]["reason"]} for error in errors for action, item in error.items()],
    "single": single["result"],
    "alive": client.ping(),
    "health": client.cluster.health()["status"],
}))
