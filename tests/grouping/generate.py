"""Prints the labelled set: one JSON object a line, each an error event with the name of the error that it is.

Two events are the same error if, and only if, their labels are equal. Each seed, which is an event of a real SDK or one made by hand
in its shape, is sent as it is and after each change that leaves it the same error: other lines, another place on disk, other values in
the message, an outer caller that was rewritten, a library that was updated, a deeper recursion, another browser, a wrapper around it,
the same trace as text in a log. Changes that make another error of it get a label of their own: the same message from another
function, another class at the same place.

Everything is drawn from a seeded generator: the set is the same everywhere.
"""

import argparse
import copy
import json
import pathlib
import random
import re
import zlib

HERE = pathlib.Path(__file__).parent
PLATFORMS = {"java": "java", "go": "go", "rust": "native", "browser": "javascript", "python": "python", "javascript": "node"}


# -- seeds


def seeds():
    """Returns all seeds; of each the exceptions, the reported one last as SDKs have them, with frames from the outermost on."""
    found = [*json.loads((HERE / "seeds_python.json").read_text()), *json.loads((HERE / "seeds_node.json").read_text())]
    for block in re.split(r"^= ", (HERE / "seeds_handmade.txt").read_text(), flags=re.M)[1:]:
        found.append(handmade(block.strip().splitlines()))
    return found


def handmade(lines):
    language, _, name = lines[0].partition(" ")
    exceptions = []
    for line in filter(None, map(str.strip, lines[1:])):
        if line.startswith("! "):
            kind, _, value = line[2:].partition(": ")
            exceptions.append({"type": kind, "module": None, "value": value, "frames": []})
            continue
        call, _, source = line.removeprefix("- ").partition(" | ")
        # A function's name may contain blanks, as `impl Trait for Type` does.
        module, rest = call.split(" ", 1)
        function, file, lineno = rest.rsplit(" ", 2)
        frame = {"module": module, "function": function, "filename": file, "lineno": int(lineno), "colno": None}
        exceptions[-1]["frames"].insert(0, {**frame, "context_line": source or None, "in_app": not line.startswith("- ")})
    return {"language": language, "label": f"{language}: {name}", "exceptions": exceptions[::-1]}


# -- changes after which it is the same error


def as_it_is(seed, draw):
    return seed


def other_lines(seed, draw):
    """Somebody wrote something above it."""
    for frame in frames(seed):
        if frame["lineno"]:
            frame["lineno"] += draw.randint(1, 60)
    return seed


def other_place(seed, draw):
    """It was installed elsewhere."""
    root = f"/srv/releases/{draw.randint(20260101, 20261231)}-{draw.getrandbits(28):07x}/"
    for frame in frames(seed):
        if frame["in_app"] and not frame["filename"].startswith("http") and not frame["filename"].startswith("node:"):
            frame["abs_path"] = root + frame["filename"].lstrip("/")
    return seed


def other_values(seed, draw):
    """The message is about another order, file, host or time."""
    for one in seed["exceptions"]:
        one["value"] = re.sub(r"\d+", lambda match: str(draw.randint(2, 10 ** max(2, len(match[0])))), one["value"])
        one["value"] = re.sub(r"\bp-\d+\b", lambda _: f"p-{draw.randint(10, 99_999)}", one["value"])
        one["value"] = re.sub(r"'/var/[^']*'", lambda _: f"'/var/lib/shop/{draw.getrandbits(64):016x}.png'", one["value"])
        one["value"] = re.sub(r"\b(ann)\b", lambda _: draw.choice(["bob", "carol", "dave"]), one["value"])
    return seed


def other_caller(seed, draw):
    """The outermost call of the application was renamed, and the one that calls it is new."""
    for one in seed["exceptions"]:
        own = [frame for frame in one["frames"] if frame["in_app"]]
        if len(own) < 3:
            continue
        outermost = own[0]
        at = one["frames"].index(outermost)
        outermost["function"] = renamed(outermost["function"], draw)
        outermost["context_line"] = None
        above = {**outermost, "function": renamed(outermost["function"], draw), "lineno": draw.randint(1, 400)}
        one["frames"].insert(at, above)
    return seed


def other_library(seed, draw):
    """A library calls by other functions than before."""
    for one in seed["exceptions"]:
        foreign = [frame for frame in one["frames"] if not frame["in_app"]]
        for frame in foreign:
            frame["lineno"] = (frame["lineno"] or 0) + draw.randint(1, 90)
        if len(foreign) > 1:
            dropped = draw.choice(foreign)
            one["frames"] = [frame for frame in one["frames"] if frame is not dropped]
    return seed


def deeper(seed, draw):
    """A recursion goes deeper."""
    for one in seed["exceptions"]:
        names = [frame["function"] for frame in one["frames"]]
        twice = next((index for index in range(len(names)) if names.index(names[index]) < index), None)
        if twice is not None:
            first = names.index(names[twice])
            again = copy.deepcopy(one["frames"][first:twice])
            for _ in range(draw.randint(1, 30)):
                one["frames"][first:first] = copy.deepcopy(again)
    return seed


def other_build(seed, draw):
    """The compiler numbers lambdas, closures and builds anew."""
    commit = f"{draw.getrandbits(160):040x}"
    for frame in frames(seed):
        frame["function"] = re.sub(r"lambda\$(\w+)\$\d+", rf"lambda$\1${draw.randint(1, 9)}", frame["function"])
        frame["function"] = re.sub(r"\.func\d+$", f".func{draw.randint(2, 9)}", frame["function"])
        frame["filename"] = re.sub(r"/rustc/\w{40}/", f"/rustc/{commit}/", frame["filename"])
        frame["filename"] = re.sub(r"-\d+\.\d+\.\d+/", f"-1.{draw.randint(40, 60)}.{draw.randint(0, 9)}/", frame["filename"])
    return seed


def other_browser(seed, draw):
    """Firefox or Safari says it in other words, and calls functions by other names."""
    if seed["language"] != "browser":
        return None
    firefox = draw.random() < 0.5
    said = [
        (r"Cannot read properties of undefined \(reading '(\w+)'\)", r"can't access property \"\1\", product.price is undefined", r"undefined is not an object (evaluating 'product.price.\1')"),
        (r"Failed to fetch", "NetworkError when attempting to fetch resource.", "Load failed"),
        (r"Failed to execute 'setItem'.*", "The quota has been exceeded.", "The quota has been exceeded."),
    ]
    for one in seed["exceptions"]:
        for chrome, in_firefox, in_safari in said:
            one["value"] = re.sub(chrome, in_firefox if firefox else in_safari, one["value"])
        for frame in one["frames"]:
            frame["colno"] = draw.randint(1, 80)
            if firefox and "await" in (frame["context_line"] or ""):
                frame["function"] = f"async*{frame['function']}" if draw.random() < 0.5 else frame["function"]
    return seed


def other_bundle(seed, draw):
    """The bundler gives the file another hash."""
    if seed["language"] != "browser":
        return None
    tag = f"{draw.getrandbits(32):08x}"
    for frame in frames(seed):
        frame["filename"] = re.sub(r"\.js$", f".{tag}.js", frame["filename"])
    return seed


def minified(seed, draw):
    """The names of one build of a bundle whose source map nobody uploaded: as little as there is, the file, class and message tell it."""
    if seed["language"] != "browser":
        return None
    names = {}
    for frame in frames(seed):
        name = names.setdefault(frame["function"], draw.choice("abcdefghijklmnopqrst") + draw.choice("abcdefghij0123456789"))
        frame |= {"function": name, "context_line": None, "lineno": 1, "colno": draw.randint(1000, 90_000)}
        frame["filename"] = re.sub(r"([^/]+)\.js$", "main.min.js", frame["filename"])
    return seed


def wrapped(seed, draw):
    """An executor carries the error from thread to thread."""
    if seed["language"] != "java":
        return None
    carried = seed["exceptions"][-1]
    pool = [("java.util.concurrent.FutureTask", "report", 122), ("java.util.concurrent.FutureTask", "get", 191)]
    calls = [{"module": module, "function": name, "filename": "FutureTask.java", "lineno": line, "colno": None, "context_line": None, "in_app": False} for module, name, line in pool]
    value = f"{carried['type']}: {carried['value']}"
    seed["exceptions"].append({"type": "java.util.concurrent.ExecutionException", "module": None, "value": value, "frames": calls[::-1]})
    return seed


def as_text(seed, draw):
    """No SDK: the trace stands in a log."""
    return seed if seed["language"] in TEXTS else None


SAME = [as_it_is, other_lines, other_place, other_values, other_caller, other_library, deeper, other_build, other_browser, other_bundle, wrapped, as_text]


# -- changes after which it is another error


def elsewhere(seed, draw):
    """The same class and message come from another function."""
    frame = innermost(seed)
    frame["function"] = renamed(frame["function"], draw)
    frame["context_line"] = None if frame["context_line"] is None else f"{frame['context_line']}  # {frame['function']}"
    return seed


def another_class(seed, draw):
    """At the same place something else is raised."""
    seed["exceptions"][-1]["type"] = {"python": "PermissionError", "java": "java.lang.IllegalStateException", "go": "panic", "rust": "panic"}.get(seed["language"], "AbortError")
    seed["exceptions"][-1]["value"] = "the operation was aborted"
    frame = innermost(seed)
    frame["lineno"] = (frame["lineno"] or 0) + 3
    frame["context_line"] = None if frame["context_line"] is None else "raise_aborted(reason)"
    return seed


OTHERS = [elsewhere, another_class]


def frames(seed):
    return [frame for one in seed["exceptions"] for frame in one["frames"]]


def innermost(seed):
    """Returns the application's call nearest to the error."""
    own = [one["frames"] for one in seed["exceptions"]]
    return next(frame for frames in own for frame in reversed(frames) if frame["in_app"])


def renamed(name, draw):
    return re.sub(r"(\w+)(?=\W*$)", lambda match: f"{match[1]}_{draw.choice(['all', 'one', 'next', 'later', 'again'])}{draw.choice('abcdefgh')}", name, count=1)


# -- how events are written


def sentry(seed, draw):
    """Returns it as an SDK sends it."""
    values = []
    for one in seed["exceptions"]:
        kind, module = one["type"], one["module"]
        if module is None and seed["language"] == "java":
            module, _, kind = kind.rpartition(".")
        written = [{key: value for key, value in frame.items() if value is not None and value != ""} for frame in one["frames"]]
        if seed["language"] == "rust":
            # Rust's SDK joins module and function.
            written = [{**frame, "function": f"{frame['module']}::{frame['function']}"} for frame in written]
        values.append({"type": kind, "value": one["value"], **({"module": module} if module else {}), "stacktrace": {"frames": written}})
    identity = f"{draw.getrandbits(128):032x}"
    return {"event_id": identity, "platform": PLATFORMS[seed["language"]], "level": "error", "exception": {"values": values}}


def python_text(seed):
    def told(one):
        lines = ["Traceback (most recent call last):"]
        for frame in one["frames"]:
            path = frame["filename"] if frame["in_app"] else f"/usr/lib/python3.11/{frame['filename']}"
            lines.append(f'  File "{path if path[0] == "/" else "/app/" + path}", line {frame["lineno"]}, in {frame["function"]}')
            if frame["context_line"]:
                lines.append(f"    {frame['context_line']}")
        module = "" if one["module"] in (None, "builtins") else f"{one['module']}."
        return "\n".join([*lines, f"{module}{one['type']}: {one['value']}"])

    return "\n\nThe above exception was the direct cause of the following exception:\n\n".join(map(told, seed["exceptions"]))


def java_text(seed):
    lines = []
    for number, one in enumerate(reversed(seed["exceptions"])):
        lines.append(f"{'Caused by: ' if number else ''}{one['type']}: {one['value']}")
        lines += [f"\tat {frame['module']}.{frame['function']}({frame['filename']}:{frame['lineno']})" for frame in reversed(one["frames"])]
    return "\n".join(lines)


def go_text(seed):
    one = seed["exceptions"][-1]
    lines = [f"panic: {one['value']}", "", "goroutine 17 [running]:"]
    for frame in reversed(one["frames"]):
        lines += [f"{frame['module']}.{frame['function'].removeprefix('main.')}(0xc000012345, 0x1)", f"\t{frame['filename']}:{frame['lineno']} +0x1d"]
    return "\n".join(lines)


def rust_text(seed):
    one = seed["exceptions"][-1]
    own = innermost(seed)
    lines = [f"thread 'tokio-runtime-worker' panicked at {own['filename']}:{own['lineno']}:9:", one["value"], "stack backtrace:"]
    for number, frame in enumerate(reversed(one["frames"])):
        file = frame["filename"] if frame["filename"].startswith("/") else f"./{frame['filename']}"
        lines += [f"{number:4}: {frame['module']}::{frame['function']}", f"             at {file}:{frame['lineno']}:9"]
    return "\n".join(lines)


def node_text(seed):
    lines = []
    for number, one in enumerate(reversed(seed["exceptions"])):
        lines.append(f"{'Caused by: ' if number else ''}{one['type']}: {one['value']}")
        for frame in reversed(one["frames"]):
            place = frame["filename"] if not frame["in_app"] or frame["filename"].startswith("/") else f"/app/{frame['filename']}"
            at = f"{place}:{frame['lineno'] or 0}:{frame['colno'] or 0}" if place and place != "<anonymous>" else "<anonymous>"
            lines.append(f"    at {at}" if frame["function"] == "?" else f"    at {frame['function']} ({at})")
    return "\n".join(lines)


TEXTS = {"python": python_text, "java": java_text, "go": go_text, "rust": rust_text, "javascript": node_text}


def capture(seed):
    """Returns it as `POST /api/v1/errors` takes it."""
    return {"stacktrace": TEXTS[seed["language"]](seed)}


# -- the set


def place(seed):
    """Returns where it comes about."""
    own = innermost(seed) if any(frame["in_app"] for frame in frames(seed)) else frames(seed)[-1]
    return f"{seed['language']}: {own['module']} {own['function']}"


def half(seed):
    """Returns which half an error belongs to: rules are tuned on the one, and the other is reported. Errors of one place are in one half,
    so that they can be mistaken for each other."""
    return "tune" if zlib.crc32(place(seed).encode()) % 2 else "report"


def events():
    """Returns all events, in an order in which they might have come."""
    made = list(ordered())
    random.Random("order").shuffle(made)
    # Two events of one id would be one.
    for number, event in enumerate(made):
        if "event" in event:
            event["event"]["event_id"] = f"{random.Random(f'id {number}').getrandbits(128):032x}"
    return made


def ordered():
    for seed in seeds():
        label, language = seed["label"], seed["language"]

        def made(change, label, seed=seed, language=language):
            draw = random.Random(f"{label}/{change.__name__}")
            changed = change(copy.deepcopy(seed), draw)
            if changed is None:
                return None
            about = {"label": label, "language": language, "change": change.__name__, "half": half(seed)}
            if change is as_text:
                return {**about, "capture": capture(changed)}
            return {**about, "event": sentry(changed, draw)}

        yield from filter(None, (made(change, label) for change in SAME))
        for change in OTHERS:
            if not any(frame["in_app"] for frame in frames(seed)):
                # Nothing of the application is in it: a library's function of another name is another release of the library.
                continue
            # What is aborted at one place is one error, whatever else goes wrong there.
            other = f"{label if change is elsewhere else place(seed)}, {change.__name__}"
            yield made(change, other)

            def after(seed, draw, change=change):
                # The other error has its own draws, the same each time, and then happens at other lines.
                return other_lines(change(seed, random.Random(f"{other}/{change.__name__}")), draw)

            after.__name__ = f"{change.__name__}_other_lines"
            yield made(after, other)
        if language == "browser":
            yield made(minified, f"{label}, minified")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=["tune", "report", "all"], default="all")
    options = parser.parse_args()
    for event in events():
        if options.half in ("all", event["half"]):
            print(json.dumps(event, ensure_ascii=False))


if __name__ == "__main__":
    main()
