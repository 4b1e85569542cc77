"""Sends the labelled set to a host and says how well it groups: pairwise precision and recall, and B-cubed F1, per language.

    python3 tests/grouping/score.py --url http://127.0.0.1:3473 --half report [--wrong] [--json]

The host must be empty. A pair of events is right if both are the same error and in the same issue. Precision is the share of pairs in the
same issue that are the same error, recall the share of pairs of the same error that are in the same issue.
"""

import argparse
import collections
import json
import sys
import time
import urllib.request

import generate


class Host:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def ask(self, path, body=None, content_type="application/json", headers=None):
        request = urllib.request.Request(self.url + path, body, {"content-type": content_type, **(headers or {})})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def envelope(self, dsn, event):
        body = json.dumps(event).encode()
        header = json.dumps({"event_id": event["event_id"], "dsn": dsn}).encode()
        whole = b"%s\n%s\n%s\n" % (header, json.dumps({"type": "event", "length": len(body)}).encode(), body)
        self.ask(f"/api/{dsn.rpartition('/')[2]}/envelope/", whole, "application/x-sentry-envelope")

    def issues(self):
        return self.ask("/api/v1/issues?limit=1000")["issues"]

    def total(self):
        return sum(issue["count"] for issue in self.issues())

    def wait(self, count):
        deadline = time.monotonic() + 60
        while (total := self.total()) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: only {total} of {count} events became part of an issue")
            time.sleep(0.05)


def send(host, events):
    """Sends all events, in their order; returns pairs of an event and its issue."""
    told = host.ask("/api/v1/errors/dsn")
    dsn = host.url.replace("://", "://" + told["key"] + "@") + "/" + str(told["project"])
    service, placed, names = None, [], {}
    # First one that tells which service the project of the DSN has: a trace in the log is to be of the same.
    first = next((number for number, event in enumerate(events) if "event" in event), 0)
    events.insert(0, events.pop(first))
    for number, event in enumerate(events):
        if "event" in event:
            # By a tag that grouping does not look at, each event finds its issue afterwards.
            names[f"{number:05}"] = event
            host.envelope(dsn, {**event["event"], "timestamp": time.time(), "tags": {"labelled": f"{number:05}"}})
            if service is None:
                host.wait(1)
                service = host.issues()[0]["service"]
            continue
        answer = host.ask("/api/v1/errors", json.dumps({**event["capture"], "service": service}).encode())
        host.wait(number + 1)
        placed.append((event, answer["issues"][0]))
    host.wait(len(events))
    found = {}
    for issue in host.issues():
        for tag in host.ask(f"/api/v1/issues/{issue['id']}")["tags"]:
            if tag["key"] == "labelled":
                found |= {value["value"]: issue["id"] for value in tag["values"]}
    missing = set(names) - set(found)
    for name in sorted(missing):
        # More values than are listed: asked for one by one.
        match = host.ask(f"/api/v1/issues?q=labelled%3A{name}&limit=2")["issues"]
        if len(match) != 1:
            raise SystemExit(f"error: event {name} is in {len(match)} issues")
        found[name] = match[0]["id"]
    return placed + [(event, found[name]) for name, event in names.items()]


def figures(pairs):
    """Returns precision, recall and B-cubed F1 of pairs of a label and an issue."""
    both, labels, issues = collections.Counter(pairs), collections.Counter(label for label, _ in pairs), collections.Counter(issue for _, issue in pairs)
    two = lambda count: count * (count - 1) // 2
    right = sum(map(two, both.values()))
    together, same = sum(map(two, issues.values())), sum(map(two, labels.values()))
    precision = sum(count * count / issues[issue] for (_, issue), count in both.items()) / len(pairs)
    recall = sum(count * count / labels[label] for (label, _), count in both.items()) / len(pairs)
    return {
        "events": len(pairs),
        "errors": len(labels),
        "issues": len(issues),
        "precision": right / together if together else 1.0,
        "recall": right / same if same else 1.0,
        "b_cubed_f1": 2 * precision * recall / (precision + recall),
    }


def wrong(placed):
    """Returns what is wrong in words: issues of several errors, and errors in several issues."""
    by_issue, by_label = collections.defaultdict(list), collections.defaultdict(list)
    for event, issue in placed:
        by_issue[issue].append(event)
        by_label[event["label"]].append((issue, event["change"]))
    lines = []
    for issue, events in by_issue.items():
        labels = collections.Counter(event["label"] for event in events)
        if len(labels) > 1:
            lines.append(f"one issue {issue}: " + "; ".join(f"{label} ×{count}" for label, count in labels.most_common()))
    for label, where in sorted(by_label.items()):
        main = collections.Counter(issue for issue, _ in where).most_common(1)[0][0]
        apart = sorted(change for issue, change in where if issue != main)
        if apart:
            lines.append(f"apart from {label}: {', '.join(apart)}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--half", choices=["tune", "report", "all"], default="all")
    parser.add_argument("--wrong", action="store_true", help="say what is wrong")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    events = [event for event in generate.events() if options.half in ("all", event["half"])]
    placed = send(Host(options.url), events)
    by_language = {}
    for language in sorted({event["language"] for event, _ in placed}):
        by_language[language] = figures([(event["label"], issue) for event, issue in placed if event["language"] == language])
    by_language["all"] = figures([(event["label"], issue) for event, issue in placed])
    if options.json:
        print(json.dumps(by_language))
    else:
        print(f"{'':12} events errors issues precision recall B-cubed F1")
        for language, row in by_language.items():
            print(f"{language:12} {row['events']:6} {row['errors']:6} {row['issues']:6} {row['precision']:9.3f} {row['recall']:6.3f} {row['b_cubed_f1']:10.3f}")
    if options.wrong:
        print("\n".join(wrong(placed)), file=sys.stderr)


if __name__ == "__main__":
    main()
