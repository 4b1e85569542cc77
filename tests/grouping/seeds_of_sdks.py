"""Makes `seeds_python.json` and `seeds_node.json` of what `corpus/` prints: only what grouping may look at, and without the frames of
the corpus itself, whose names would tell the errors apart.

    PYTHON -B corpus/python_events.py | python3 seeds_of_sdks.py python > seeds_python.json
    CLIENTS=FOLDER node corpus/node_events.mjs | python3 seeds_of_sdks.py javascript > seeds_node.json
"""

import json
import re
import sys


def frames(raw, language, label):
    kept = []
    for frame in raw:
        function, module = frame.get("function", "?"), frame.get("module") or ""
        if language == "python" and module == "__main__":
            continue
        if language == "javascript" and (function == label or "errors.<computed>" in function or "await raise()" in (frame.get("context_line") or "")):
            continue
        kept.append(
            {
                "module": module,
                "function": function,
                "filename": re.sub(r"^.*/corpus/", "", frame.get("filename") or ""),
                "lineno": frame.get("lineno"),
                "colno": frame.get("colno"),
                "context_line": (frame.get("context_line") or "").strip() or None,
                "in_app": bool(frame.get("in_app")),
            }
        )
    return kept


def main():
    language, seeds = sys.argv[1], []
    for line in sys.stdin:
        told = json.loads(line)
        exceptions = [
            {
                "type": one["type"],
                "module": one.get("module"),
                "value": one["value"],
                "frames": frames(one.get("stacktrace", {}).get("frames", []), language, told["label"]),
            }
            for one in told["event"]["exception"]["values"]
        ]
        seeds.append({"language": language, "label": f"{language}: {told['label']}", "exceptions": exceptions})
    json.dump(seeds, sys.stdout, ensure_ascii=False, indent=None, separators=(",", ":"))
    print()


main()
